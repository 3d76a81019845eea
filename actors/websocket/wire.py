"""The language of server and client: JSON text, version 1. docs/reference-websocket.md explains it.

Every frame is one object with a ``type``. A message of the WebSocket is one frame, or from the server also an
array of frames. Decoding checks types and lengths; a frame that does not fit is
`BadFrame`, never a crash. Unknown fields are passed over, so that fields can be added within a version.
"""

import enum
from collections.abc import Iterable, Iterator
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from resprout.runtime.errors import ResproutError

VERSION = 1
MAX_FRAME_BYTES = 1 << 20
"""Nothing longer is read, by server or client; a message of the queue is limited to less."""

BATCH_BYTES = 32_768
"""Frames that are ready at once travel together up to this length: a tenth of the cost of one by one."""

MAX_CLIENT_FRAME_BYTES = 16_384
"""A client has little to say: a token at most."""

Sequence: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A number that JavaScript can hold exactly."""

Word: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=1024)]
Token: TypeAlias = Annotated[str, msgspec.Meta(max_length=8192)]
Nonce: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]


class Hello(msgspec.Struct, tag="hello", frozen=True, omit_defaults=True):
    """The client's first frame: who it is, and what it already has (*epoch* and *seq*, both or none)."""

    v: int
    token: Token
    epoch: Word | None = None
    seq: Sequence | None = None


class Ack(msgspec.Struct, tag="ack", frozen=True):
    """The client has dealt with everything up to *seq*."""

    seq: Sequence


class Nack(msgspec.Struct, tag="nack", frozen=True, omit_defaults=True):
    """The client could not deal with *seq*; it will get this and what follows again. *permanent*: do not retry."""

    seq: Sequence
    reason: Text = ""
    permanent: bool = False


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Asks the other side for a pong with the same *n*."""

    n: Nonce


class Pong(msgspec.Struct, tag="pong", frozen=True):
    """Answers a ping."""

    n: Nonce


class Welcome(msgspec.Struct, tag="welcome", frozen=True):
    """The session is open; the next message has a sequence after *seq*.

    *reset*: the sequences the client knew mean nothing any more, its last one is now *seq*.
    *window*: messages sent and not acknowledged at most. *lease*: seconds without an acknowledgement, while
    some are due, after which the session ends.
    """

    v: int
    epoch: str
    seq: int
    reset: bool
    window: int
    lease: float


class Gap(msgspec.Struct, tag="gap", frozen=True, rename={"first": "from", "last": "to"}):
    """Messages from *first* to *last* will not come: settled before, dead, or expired."""

    first: int
    last: int


class Message(msgspec.Struct, tag="message", frozen=True):
    """A message of the stream. *id* stays the same when it comes again, even under a new *seq*."""

    id: str
    seq: int
    data: msgspec.Raw


class Error(msgspec.Struct, tag="error", frozen=True, omit_defaults=True):
    """Why the server is about to close. *retry_after*: come back then, in seconds; absent: do not."""

    code: str
    message: str
    retry_after: float | None = None


FromClient: TypeAlias = Hello | Ack | Nack | Ping | Pong
FromServer: TypeAlias = Welcome | Gap | Message | Ping | Pong | Error


class Close(enum.IntEnum):
    """Codes the server closes with. 4400 to 4499 mean: come back only after a change. All others: come back."""

    NORMAL = 1000
    GOING_AWAY = 1001
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013
    BAD_FRAME = 4400
    UNAUTHORIZED = 4401
    SUPERSEDED = 4409
    SLOW = 4508
    TOO_MANY_CONNECTIONS = 4529
    TOO_FAST = 4530
    HELLO_TIMEOUT = 4531


class BadFrame(ResproutError):
    """The other side sent something that is no frame of this protocol."""


_encoder = msgspec.json.Encoder()
_from_client: msgspec.json.Decoder[FromClient] = msgspec.json.Decoder(FromClient)
_from_server: msgspec.json.Decoder[FromServer | list[FromServer]] = msgspec.json.Decoder(
    FromServer | list[FromServer]
)


def encode(frame: FromClient | FromServer) -> str:
    """The text of *frame*.

    >>> encode(Gap(3, 4)), encode(Hello(v=1, token="t"))
    ('{"type":"gap","from":3,"to":4}', '{"type":"hello","v":1,"token":"t"}')
    """
    return _encoder.encode(frame).decode()


def encode_together(frames: Iterable[FromServer]) -> Iterator[str]:
    """The texts to send for *frames*, as few as possible.

    >>> list(encode_together([Ping("a")])), list(encode_together([Ping("a"), Pong("b")]))
    (['{"type":"ping","n":"a"}'], ['[{"type":"ping","n":"a"},{"type":"pong","n":"b"}]'])
    """
    batch: list[bytes] = []
    size = 0
    for frame in frames:
        text = _encoder.encode(frame)
        if batch and size + len(text) > BATCH_BYTES:
            yield _joined(batch)
            batch, size = [], 0
        batch.append(text)
        size += len(text) + 1
    if batch:
        yield _joined(batch)


def _joined(batch: list[bytes]) -> str:
    return batch[0].decode() if len(batch) == 1 else (b"[" + b",".join(batch) + b"]").decode()


def decode_from_client(text: str | bytes) -> FromClient:
    """Read a client's frame.

    >>> decode_from_client('{"type": "ack", "seq": 7}')
    Ack(seq=7)

    Raises:
        BadFrame: If it is none, is too long, or one of its fields is.
    """
    return _decode(_from_client, text, MAX_CLIENT_FRAME_BYTES)


def decode_from_server(text: str | bytes) -> list[FromServer]:
    """Read a server's frames.

    Raises:
        BadFrame: If there is something else among them.
    """
    frames = _decode(_from_server, text, MAX_FRAME_BYTES)
    return frames if isinstance(frames, list) else [frames]


_raw: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)
_SPARE_DEPTH = 64
"""Levels of nesting left to the frame around a message, and to the stack of who reads it."""


def check_data(data: bytes) -> None:
    """See that a client can read *data* in a frame; `msgspec.Raw` comes here unread.

    Raises:
        ValueError: It cannot, and would not get past this message.
    """
    try:
        data.decode()
        _raw.decode(data)
        _raw.decode(b"[" * _SPARE_DEPTH + data + b"]" * _SPARE_DEPTH)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(f"a message must be JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("a message must be JSON that is not nested so deeply") from error


_T = TypeVar("_T")


def _decode(decoder: msgspec.json.Decoder[_T], text: str | bytes, limit: int) -> _T:
    if len(text) > limit:
        raise BadFrame(f"a frame may have {limit} characters, this one has {len(text)}")
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadFrame(str(error)) from error
    except RecursionError as error:
        raise BadFrame("nested too deeply") from error
