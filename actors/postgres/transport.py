"""A socket on trio in the shape asyncio calls a transport: protocols are fed and written without a second loop.

Reading is one trio task per connection. Writing happens at once, in the task that writes; only what the kernel
does not take is left to a task that ends when the backlog is gone.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable

READ_BYTES = 65_536  # Larger ones would be a fresh mmap for each read.
BACKLOG_BYTES = 262_144  # Above it the protocol is asked to pause writing; below a quarter to go on.

# First bytes of writes of asyncpg that run nothing: Parse, Describe, Flush, Sync, Terminate, Close. A TLS record
# begins with another byte.
HARMLESS = frozenset(b"PDHSXC")


# The first message of a server asks for the login or is an error: a kind, and a length that counts itself. libpq
# has the same upper bound.
HEADER_BYTES, SHORTEST, LONGEST = 5, 4, 30_000


class Host(Protocol):
    """What a transport needs from its loop."""

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call *function* as a callback of the loop, and what it makes ready after it, before returning."""

    def start(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run *function* as a trio task that ends with the loop."""


class SocketTransport(asyncio.Transport):
    """One connected, non-blocking socket that feeds *protocol*.

    Attributes:
        bytes_ordered: Sent, or waiting to be, in writes that can make a server do something. If it did not
            grow, a statement cannot have run. Behind TLS every write counts.
        bytes_read: Received so far.
    """

    def __init__(
        self, host: Host, sock: socket.socket, protocol: asyncio.BaseProtocol, *, screened: bool = False
    ) -> None:
        """*screened*: let the first message in only if it can be one of Postgres."""
        super().__init__({"socket": sock, "peername": None})
        self.bytes_ordered = 0
        self.bytes_read = 0
        self._host, self._sock = host, sock
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        self._poll = poll.poll
        self._backlog = bytearray()
        self._screened, self._head = screened, b""
        self._closing = self._paused_protocol = self._closed = self._flushing = False
        self._error: Exception | None = None
        self._resumed: trio.Event | None = None
        self._scope = trio.CancelScope()
        self.set_protocol(protocol)

    # Reading.

    async def run(self) -> None:
        """Read until the peer, the protocol or an error ends the connection, then say so to the protocol."""
        try:
            with self._scope:
                self._error = await self._read() or self._error
        finally:
            self._closing = self._closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._host.call(self._protocol.connection_lost, self._error)

    async def _read(self) -> Exception | None:
        wait_readable, sock, call = trio.lowlevel.wait_readable, self._sock, self._host.call
        while True:
            if self._resumed is not None:
                await self._resumed.wait()
            await wait_readable(sock)
            if self._resumed is not None:
                continue
            try:
                data = sock.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                return error
            if not data:
                call(self._at_end)
                return None
            self.bytes_read += len(data)
            try:
                call(self._feed, data)
            except Exception as error:  # noqa: BLE001 - a protocol that lost its way ends its connection.
                return error

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Feed *protocol* from now on: how TLS gets between the socket and its user."""
        self._protocol = protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            self._feed: Callable[[bytes], None] = self._feed_buffered
            self._at_end: Callable[[], object] = protocol.eof_received
        elif isinstance(protocol, asyncio.Protocol):
            self._receiver, self._at_end, self._head = protocol, protocol.eof_received, b""
            self._feed = self._feed_first if self._screened else protocol.data_received
        else:
            raise TypeError(f"{protocol!r} takes no stream of bytes")

    def _feed_first(self, data: bytes) -> None:
        """Let the first message in only if it can be one: asyncpg turns for ever on a length below four.

        Raises:
            ConnectionError: Something else than Postgres answers there.
        """
        self._head += data[: HEADER_BYTES - len(self._head)]
        if len(self._head) == HEADER_BYTES:
            length = int.from_bytes(self._head[1:], "big", signed=True)
            if not SHORTEST <= length <= LONGEST:
                raise ConnectionError(f"what answers there is no Postgres: it began with {self._head!r}")
            self._feed = self._receiver.data_received
        self._receiver.data_received(data)

    def _feed_buffered(self, data: bytes) -> None:
        protocol = self._protocol
        assert isinstance(protocol, asyncio.BufferedProtocol)
        while data:
            room = memoryview(protocol.get_buffer(len(data)))
            taken = min(len(room), len(data))
            room[:taken] = data[:taken]
            protocol.buffer_updated(taken)
            data = data[taken:]

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Whom the bytes go to."""
        return self._protocol

    def pause_reading(self) -> None:
        """Leave further bytes in the kernel."""
        if self._resumed is None:
            self._resumed = trio.Event()

    def resume_reading(self) -> None:
        """Read on."""
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            resumed.set()

    def is_reading(self) -> bool:
        """Whether bytes are read as they come."""
        return self._resumed is None and not self._closing

    def is_quiet(self) -> bool:
        """True if the peer has neither closed nor sent anything that was not read yet. One system call."""
        return not self._closing and not self._poll(0)

    # Writing.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data* now as far as the kernel takes it, the rest as soon as it can."""
        if self._closing or not data:
            return
        sent = 0
        if not self._flushing:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._force_close(error)
                return
            if data[0] not in HARMLESS:
                self.bytes_ordered += len(data)
            if sent == len(data):
                return
            self._flushing = True
            self._host.start(self._flush)
        elif data[0] not in HARMLESS:
            self.bytes_ordered += len(data)
        self._backlog += memoryview(data)[sent:]
        if len(self._backlog) > BACKLOG_BYTES and not self._paused_protocol:
            self._paused_protocol = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send all of *list_of_data* in one piece."""
        self.write(b"".join(list_of_data))

    async def _flush(self) -> None:
        backlog, sock = self._backlog, self._sock
        while backlog and not self._closed:
            try:
                await trio.lowlevel.wait_writable(sock)
                sent = sock.send(backlog)
            except (BlockingIOError, InterruptedError):
                continue
            except trio.ClosedResourceError:
                return
            except OSError as error:
                self._force_close(error)
                return
            del backlog[:sent]
            if self._paused_protocol and len(backlog) < BACKLOG_BYTES // 4:
                self._paused_protocol = False
                self._host.call(self._protocol.resume_writing)  # Which may write, to our backlog.
        self._flushing = False
        if self._closing:
            self._scope.cancel()

    def get_write_buffer_size(self) -> int:
        """Bytes the kernel has not taken yet."""
        return len(self._backlog)

    def can_write_eof(self) -> bool:
        """A database connection is never half closed."""
        return False

    # Ending.

    def is_closing(self) -> bool:
        """True once nothing more is accepted for writing."""
        return self._closing

    def close(self) -> None:
        """Send what is waiting, then end."""
        self._closing = True
        if not self._backlog:
            self._scope.cancel()

    def abort(self) -> None:
        """End at once; what is waiting is lost."""
        self._closing = True
        self._backlog.clear()
        self._scope.cancel()

    def _force_close(self, error: Exception | None) -> None:
        """End at once because of *error*. asyncio's TLS layer calls it by this name."""
        self._error = error
        self.abort()
