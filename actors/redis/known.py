"""From a call of a redis-py method to bytes, and from a reply back to what redis-py promises."""

from collections.abc import Callable, MutableMapping
from typing import Any

import attrs
from redis.asyncio import Redis
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.exceptions import ResponseError

from resprout.actors.redis.commands import Command, command_named
from resprout.actors.redis.decode import decoded
from resprout.actors.redis.resp import pack

MAX_KNOWN = (
    2_000  # Names come from code, so there are few; a program that makes them up must not fill memory.
)


@attrs.frozen
class Known:
    """A command name looked up once.

    Attributes:
        command: What we know of it.
        words: What replaces the name on the wire; None if the name is one word.
        shape: Makes the reply into what redis-py returns; None leaves it.
        plain: The reply is what the caller gets, and the arguments are what is sent.
    """

    command: Command
    words: tuple[str, ...] | None
    shape: Callable[..., Any] | None
    plain: bool

    def packed(self, args: tuple[Any, ...]) -> bytes:
        """The bytes of the command with *args*, its name included."""
        return pack(args if self.words is None else self.words + args[1:])


class Vocabulary:
    """The commands one client has used, each looked up once.

    Attributes:
        decode: Give strings as `str`, not `bytes`.
        encoder: redis-py's, for arguments.
        shapes: redis-py's functions that shape replies.
    """

    def __init__(self, *, decode: bool) -> None:
        template: Any = Redis(decode_responses=decode)  # Opens no socket.
        self.decode, self.encoder = decode, template.get_encoder()
        self.shapes: MutableMapping[str, Callable[..., Any]] = template.response_callbacks
        self._known: dict[object, Known] = {}
        self.get = self._known.get

    def learn(self, args: tuple[Any, ...]) -> Known:
        """Look the command of *args* up.

        Raises:
            CommandRefused: It does not fit a shared connection.
        """
        given, *rest = args
        name = given.decode() if isinstance(given, bytes) else str(given)
        command = command_named(name, rest[0] if rest else None)
        words = command.words if len(command.words) != 1 else None
        shape = self.shapes.get(name)
        known = Known(command, words, shape, plain=shape is None and words is None and not self.decode)
        if command.name == name.upper() and len(self._known) < MAX_KNOWN:
            self._known[given] = known  # A subcommand among the arguments must be looked at each time.
        return known

    def shaped(self, known: Known, reply: Any, options: dict[str, Any]) -> Any:
        """*reply* as redis-py gives it."""
        decode = self.decode
        if options:
            options.pop("keys", None)  # For redis-py's cache.
            options.pop(EMPTY_RESPONSE, None)
            decode = options.pop(NEVER_DECODE, None) is None and decode
        if decode:
            reply = decoded(reply)
        return reply if known.shape is None else known.shape(reply, **options)

    def forget(self) -> None:
        """Look everything up again."""
        self._known.clear()


def empty_reply(error: ResponseError, options: dict[str, Any]) -> Any:
    """What redis-py returns in place of *error* where a command asks for that; else raise it."""
    if EMPTY_RESPONSE in options:
        return options[EMPTY_RESPONSE]
    raise error
