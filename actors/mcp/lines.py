"""Reading a pipe line by line, with a limit on the length of a line."""

from collections.abc import AsyncIterator
from typing import Final

import trio

CHUNK_BYTES: Final = 65_536
SHOWN_CHARACTERS: Final = 300


class LineTooLong(Exception):
    """A line is longer than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a line is longer than {limit} bytes")
        self.limit = limit


class LineReader:
    """The lines of *stream*, without their ends; a last line without an end counts, an empty one does not.

    Raises:
        LineTooLong: From `__anext__`. Nothing more can be read then.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._buffer = bytearray()
        self._searched = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            await trio.lowlevel.checkpoint()
            line = self._take()
            if line is None:
                line = await self._receive()
            if line:
                return line

    def _take(self) -> bytes | None:
        """The next whole line in the buffer; empty if it is blank, None if there is none."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > self._limit:
                raise LineTooLong(self._limit)
            return None
        if end > self._limit:
            raise LineTooLong(self._limit)
        line = bytes(self._buffer[:end]).strip()
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    async def _receive(self) -> bytes:
        """Fill the buffer; at the end of the stream, what is left of it."""
        chunk = await self._stream.receive_some(CHUNK_BYTES)
        if chunk:
            self._buffer += chunk
            return b""
        rest = bytes(self._buffer).strip()
        self._buffer.clear()
        self._searched = 0
        if not rest:
            raise StopAsyncIteration
        return rest


def readable(line: bytes) -> str:
    """*line* as short, printable text for a log.

    >>> readable(b"caf\\xe9\\x1b[2J")
    'caf\\ufffd\\\\x1b[2J'
    """
    text = line[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace")[:SHOWN_CHARACTERS]
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
