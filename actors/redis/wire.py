"""Bytes to and from one Redis server, and how many of them have left.

A link decides from `Wire.attempted` and `Wire.flushed` whether a command can have run. Plain sockets are
driven without a stream in between: one system call less per reply, and the exact count of bytes written.
"""

import contextlib
import socket
from typing import Protocol

import trio

from resprout.actors.connection.dial import certificate_expiry

READ_BYTES = 64 * 1024


class Wire(Protocol):
    """One open connection, used by one reader and one writer.

    Attributes:
        attempted: Bytes given to the system so far; those after `flushed` may or may not have left.
        flushed: Bytes the system has taken for certain; never more than `attempted`.
    """

    attempted: int
    flushed: int

    def send_now(self, data: bytes) -> int:
        """Write what fits without waiting; returns the number of bytes taken, which may be 0."""
        ...

    async def send_all(self, data: bytes) -> None: ...
    async def receive(self) -> memoryview | bytes | bytearray:
        """The next bytes, at least one; empty when the server has closed. Valid until the next call."""
        ...

    async def aclose(self) -> None:
        """Close at once, without a goodbye; waits for nobody, so it is safe under cancellation."""
        ...


class SocketWire:
    """A `Wire` on a connected, plain TCP or Unix *sock*, which it owns."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._buffer = memoryview(bytearray(READ_BYTES))
        self.attempted = self.flushed = 0

    def send_now(self, data: bytes | memoryview) -> int:
        try:
            taken = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        self.attempted = self.flushed = self.flushed + taken
        return taken

    async def send_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest := rest[self.send_now(rest) :]:
            await trio.lowlevel.wait_writable(self._socket)
            # Woken and cancelled in the same turn: what was called unsent meanwhile must stay so.
            await trio.lowlevel.checkpoint_if_cancelled()

    async def receive(self) -> memoryview:
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            with contextlib.suppress(BlockingIOError, InterruptedError):
                return self._buffer[: self._socket.recv_into(self._buffer)]

    async def aclose(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class StreamWire:
    """A `Wire` on any trio stream: TLS, and the memory streams of tests."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.attempted = self.flushed = 0

    def send_now(self, data: bytes) -> int:
        return 0  # A stream cannot say what it took without waiting.

    def tls_expiry(self) -> float | None:
        """When the server's certificate expires."""
        return certificate_expiry(self._stream)

    async def send_all(self, data: bytes) -> None:
        self.attempted += len(data)  # A stream that fails does not tell how far it came.
        await self._stream.send_all(data)
        self.flushed = self.attempted

    async def receive(self) -> bytes | bytearray:
        return await self._stream.receive_some(READ_BYTES)

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)
