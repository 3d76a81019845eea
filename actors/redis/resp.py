"""RESP, Redis' protocol, by hiredis: packed commands out, parsed replies in."""

from typing import Any, Protocol, cast

import hiredis
from redis.asyncio.connection import DefaultParser
from redis.exceptions import DataError, ResponseError

from resprout.actors.redis.refusal import ClusterRefused

INCOMPLETE = object()
"""What the parser gives while a reply is not there as a whole."""


def pack(args: tuple[Any, ...]) -> bytes:
    """One command as bytes.

    Raises:
        redis.exceptions.DataError: an argument is not a str, bytes-like, int or float.
    """
    try:
        packed: bytes = hiredis.pack_command(args)
    except TypeError:
        return _pack_slowly(args)
    return packed


def _pack_slowly(args: tuple[Any, ...]) -> bytes:
    """As redis-py has it: other bytes-like arguments are fine, bool and None are mistakes."""
    plain: Any = tuple(bytes(arg) if isinstance(arg, (bytearray, memoryview)) else arg for arg in args)
    try:
        packed: bytes = hiredis.pack_command(plain)
    except TypeError:
        kinds = sorted({type(arg).__name__ for arg in plain if type(arg) not in (str, bytes, int, float)})
        message = f"Redis takes no {', '.join(kinds)}; convert to str, bytes, int or float first"
        raise DataError(message) from None
    return packed


class Parser(Protocol):
    """What we use of `hiredis.Reader`."""

    def feed(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def gets(self, decode: bool, /) -> object:
        """The next complete reply, or `INCOMPLETE`."""
        ...

    def len(self) -> int:
        """Bytes fed and not yet given out."""
        ...


def new_parser() -> Parser:
    """A parser for one connection; error replies come as redis-py's exceptions, strings as bytes."""
    return cast(Parser, hiredis.Reader(replyError=parse_error, notEnoughData=INCOMPLETE))


def parse_error(text: str) -> Exception:
    """redis-py's exception for an error reply; a `ResponseError` where redis-py itself fails on the text."""
    try:
        if text.startswith(("MOVED ", "ASK ", "CLUSTERDOWN ")):
            return ClusterRefused(text)
        error: Exception = DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]  # Untyped there.
    except Exception:  # noqa: BLE001 - any text from outside must be survived.
        error = ResponseError(text)
    return error
