"""The console's protocol: one JSON object a line, both ways. Pure: bytes in, values out.

A request is ``{"v": 1, "verb": "info", "args": {"path": "app/redis"}}``. The answer to it is
``{"v": 1, "ok": true, "result": …}`` or ``{"v": 1, "ok": false, "error": {"code": …, "message": …}}``. Requests
on one connection are answered in order. A server answers what it does not understand with an error, says which
version it speaks in every answer, and closes the connection only where it cannot tell where a line ends.
"""

import enum
from typing import Any, Final

import attrs
import msgspec

VERSION: Final = 1
MAX_REQUEST_BYTES: Final = 16_384
MAX_ANSWER_BYTES: Final = 64 * 2**20


class Verb(enum.Enum):
    """What can be asked."""

    TREE = "tree"
    INFO = "info"
    RESTART = "restart"


class Code(enum.Enum):
    """Why a request was not met."""

    BAD_REQUEST = "bad_request"  # Not a line of JSON in the right shape.
    BAD_VERSION = "bad_version"  # Of another version.
    UNKNOWN_VERB = "unknown_verb"
    BAD_ARGUMENTS = "bad_arguments"
    NOT_FOUND = "not_found"  # There is no such place in the tree.
    REFUSED = "refused"  # Understood, but it cannot be done.
    TIMEOUT = "timeout"
    INTERNAL = "internal"  # A fault of the server; its log says more.


class RequestError(Exception):
    """A request cannot be met, and why."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@attrs.frozen
class Request:
    """What a client asks."""

    verb: Verb
    args: dict[str, Any] = attrs.field(factory=dict)

    def path(self) -> str:
        """The argument ``path``, the only one there is.

        Raises:
            RequestError: It is missing, not a string, or there are others.
        """
        match self.args:
            case {"path": str() as path, **others} if path and not others:
                return path
            case _:
                raise RequestError(
                    Code.BAD_ARGUMENTS, f"{self.verb.value} wants one argument, path, a string"
                )


@attrs.frozen
class _Line:
    """A request as it is on the wire."""

    v: int
    verb: str
    args: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Failure:
    """Why a request was not met, as it is on the wire."""

    code: str
    message: str


@attrs.frozen
class Answer:
    """What a server answers, as it is on the wire."""

    ok: bool
    v: int = VERSION
    result: Any = None
    error: Failure | None = None


def encode_request(verb: Verb, args: dict[str, Any]) -> bytes:
    """One line to send.

    >>> decode_request(encode_request(Verb.INFO, {"path": "app"}))
    Request(verb=<Verb.INFO: 'info'>, args={'path': 'app'})
    """
    return msgspec.json.encode(_Line(VERSION, verb.value, args)) + b"\n"


def decode_request(line: bytes) -> Request:
    """Understand one line, or say why it cannot be understood.

    Raises:
        RequestError: In the words of the protocol; never anything else, whatever the bytes are.
    """
    try:
        asked = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RequestError(Code.BAD_REQUEST, f"this is no request: {error}") from None
    if asked.v != VERSION:
        raise RequestError(Code.BAD_VERSION, f"this server speaks version {VERSION}, not {asked.v}")
    try:
        verb = Verb(asked.verb)
    except ValueError:
        known = ", ".join(verb.value for verb in Verb)
        raise RequestError(
            Code.UNKNOWN_VERB, f"unknown verb {asked.verb[:50]!r}; there are: {known}"
        ) from None
    return Request(verb, asked.args)


def encode_result(result: object) -> bytes:
    """The line that answers a request with *result*, anything msgspec can write as JSON."""
    return msgspec.json.encode(Answer(ok=True, result=result)) + b"\n"


def encode_error(error: RequestError) -> bytes:
    """The line that says why a request was not met."""
    return msgspec.json.encode(Answer(ok=False, error=Failure(error.code.value, error.message))) + b"\n"


def decode_answer(line: bytes) -> Any:
    """The result in *line*, as plain data.

    Raises:
        RequestError: The server said so, or the line is no answer.
    """
    try:
        answer = msgspec.json.decode(line, type=Answer)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RequestError(Code.BAD_REQUEST, f"the answer is not understood: {error}") from None
    if answer.ok:
        return answer.result
    failure = answer.error or Failure(Code.INTERNAL.value, "it did not say why")
    known = {code.value: code for code in Code}
    raise RequestError(known.get(failure.code, Code.INTERNAL), failure.message)
