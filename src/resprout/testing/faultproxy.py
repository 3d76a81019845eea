"""A TCP proxy that breaks connections on purpose: put it between a client and a real server.

::

    async with fault_proxy("127.0.0.1", server.port) as proxy:
        client = connect(proxy.host, proxy.port)
        proxy.set(Latency(0.1), Bandwidth(10_000))      # toxics may change at any time
        proxy.set(BlackHole(), on=Direction.REPLIES)    # requests arrive, answers never do
        proxy.reset()                                   # RST to everybody, now
        await proxy.refuse()                            # new connections: ECONNREFUSED
        await proxy.heal()
"""

import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import trio

from resprout.actors.process.ports import free_port
from resprout.testing.toxics import (
    BlackHole,
    Direction,
    Ending,
    LimitBytes,
    Piece,
    Stall,
    Toxic,
    find,
    schedule,
)

_MAX_HELD_BYTES = 1 << 20  # Per direction and connection; a sender that is ahead by more has to wait.
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class FaultProxy:
    """Made by `fault_proxy`. Methods without `await` act at once on all connections.

    Attributes:
        host: Where it listens; always the IPv4 loopback address.
        port: Where it listens; the same for as long as it lives, outside the range of client ports.
        accepted: How many connections were ever taken.
        passed: How many bytes have passed, by direction.
    """

    def __init__(self, host: str, port: int, nursery: trio.Nursery, random: Random) -> None:
        self.host, self.port = "127.0.0.1", free_port("127.0.0.1", random)
        self.accepted = 0
        self.passed = {Direction.REQUESTS: 0, Direction.REPLIES: 0}
        self._server = (host, port)
        self._nursery, self._random = nursery, random
        self._listening: trio.CancelScope | None = None
        self._connections: set[_Connection] = set()
        self._toxics: dict[Direction, tuple[Toxic, ...]] = {Direction.REQUESTS: (), Direction.REPLIES: ()}
        self._changed = trio.Event()
        self._deaf = trio.Event()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def toxics(self, direction: Direction) -> tuple[Toxic, ...]:
        """What is done to the bytes of one direction."""
        return self._toxics[direction]

    def set(self, *toxics: Toxic, on: Direction = Direction.BOTH) -> None:
        """Replace the toxics of direction *on*, for open and coming connections; none at all lets all pass.

        What earlier toxics held back is delivered at once. Connections whose bytes a black hole took are
        reset when it goes, for a stream with a hole in it is no stream.
        """
        for direction in on:
            self._toxics[direction] = toxics
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        for connection in tuple(self._connections):
            connection.check()

    def reset(self) -> None:
        """Cut all open connections with RST, on both sides."""
        for connection in tuple(self._connections):
            connection.cut(Ending.RESET)

    def hang_up(self) -> None:
        """Close all open connections in order (FIN), on both sides."""
        for connection in tuple(self._connections):
            connection.cut(Ending.FIN)

    def half_close(self, direction: Direction) -> None:
        """Tell the receiver of *direction* that no more comes (FIN); the other direction goes on."""
        for connection in tuple(self._connections):
            connection.half_close(direction)

    async def refuse(self) -> None:
        """Refuse new connections: nobody listens any more. Open ones go on."""
        if self._listening is not None:
            self._listening.cancel()
            await self._deaf.wait()
        await trio.lowlevel.checkpoint()

    async def accept(self) -> None:
        """Take connections, again at the same port."""
        if self._listening is None:
            await self._nursery.start(self._listen)
        await trio.lowlevel.checkpoint()

    async def heal(self) -> None:
        """Take away all toxics and accept connections."""
        self.set()
        await self.accept()

    async def _listen(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(self.port, host=self.host)
        self._deaf = trio.Event()
        with trio.CancelScope() as self._listening:
            task_status.started()
            await trio.serve_listeners(self._serve, listeners, handler_nursery=self._nursery)
        self._listening = None
        self._deaf.set()

    async def _serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        try:
            server = await trio.open_tcp_stream(*self._server)
        except OSError:
            reset(client)  # The client's own connect has succeeded already: this is as near as it gets.
            return
        connection = _Connection(self, client, server)
        self._connections.add(connection)
        try:
            connection.check()
            await connection.run()
        finally:
            self._connections.discard(connection)
            connection.cut(Ending.RESET)  # Without effect on what is closed already.


class _Connection:
    """Two streams and the two lanes between them."""

    def __init__(self, proxy: FaultProxy, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self.proxy = proxy
        self.scope = trio.CancelScope()
        self.lanes = {
            Direction.REQUESTS: _Lane(self, Direction.REQUESTS, client, server),
            Direction.REPLIES: _Lane(self, Direction.REPLIES, server, client),
        }

    async def run(self) -> None:
        """Carry bytes until both directions have ended; a side that breaks ends it at once."""
        with self.scope:
            try:
                async with trio.open_nursery() as nursery:
                    for lane in self.lanes.values():
                        nursery.start_soon(lane.read)
                        nursery.start_soon(lane.write)
            except* _GONE:
                pass
            else:
                self.cut(Ending.FIN)

    def check(self) -> None:
        """Cut the connection if the present toxics leave it no future."""
        for direction, lane in self.lanes.items():
            toxics = self.proxy.toxics(direction)
            limit = find(LimitBytes, toxics)
            if lane.holed and find(BlackHole, toxics) is None:
                self.cut(Ending.RESET)
            elif limit is not None and lane.taken >= limit.max_bytes:
                self.cut(limit.then)

    def cut(self, how: Ending) -> None:
        """End both sides now."""
        for lane in self.lanes.values():
            match how:
                case Ending.RESET:
                    reset(lane.target)
                case Ending.FIN:
                    lane.target.socket.close()
        self.scope.cancel()

    def half_close(self, direction: Direction) -> None:
        for each in direction:
            self.lanes[each].half_close()


class _Lane:
    """One direction of one connection: a reader, a line of pieces with their due times, a writer."""

    def __init__(
        self,
        connection: _Connection,
        direction: Direction,
        source: trio.SocketStream,
        target: trio.SocketStream,
    ) -> None:
        self.connection, self.direction = connection, direction
        self.source, self.target = source, target
        self.holed = False
        self.taken = 0
        self._line: deque[tuple[Piece, trio.Event]] = deque()
        self._held_bytes = 0
        self._moved = trio.Event()  # Renewed at each use: something was put into the line or taken out.
        self._ended = self._half_closed = False

    def half_close(self) -> None:
        """Send FIN now; what still comes has nowhere to go."""
        self._half_closed = True
        with contextlib.suppress(OSError):
            self.target.socket.shutdown(socket.SHUT_WR)

    async def read(self) -> None:
        proxy, due = self.connection.proxy, 0.0
        while data := await self._receive():
            toxics = proxy.toxics(self.direction)
            if find(BlackHole, toxics) is not None:
                self.holed = True
                continue
            limit = find(LimitBytes, toxics)
            data = data if limit is None else data[: max(0, limit.max_bytes - self.taken)]
            self.taken += len(data)
            for piece in schedule(data, trio.current_time(), due, toxics, proxy._random):
                due = piece.due
                self._line.append((piece, proxy._changed))
            self._held_bytes += len(data)
            self._wake()
            while self._held_bytes > _MAX_HELD_BYTES or (limit is not None and self._line):
                await self._moved.wait()
            self.connection.check()
        self._ended = not self.holed  # A black hole takes the end of the stream as well.
        self._wake()

    async def _receive(self) -> bytes:
        data = bytes(await self.source.receive_some(65536))
        while find(Stall, self.connection.proxy.toxics(self.direction)) is not None:
            await self.connection.proxy._changed.wait()
        return data

    async def write(self) -> None:
        while True:
            while not self._line:
                if self._ended:
                    self.half_close()
                    return
                await self._moved.wait()
            piece, changed = self._line[0]
            with trio.move_on_at(piece.due):
                await changed.wait()
            await self._send(piece.data)
            self._line.popleft()
            self._held_bytes -= len(piece.data)
            self.connection.proxy.passed[self.direction] += len(piece.data)
            self._wake()

    async def _send(self, data: bytes) -> None:
        try:
            if not self._half_closed:
                await self.target.send_all(data)
        except trio.BrokenResourceError:
            if not self._half_closed:
                raise
        await trio.lowlevel.checkpoint()

    def _wake(self) -> None:
        moved, self._moved = self._moved, trio.Event()
        moved.set()


def reset(stream: trio.SocketStream) -> None:
    """Close *stream* with RST: SO_LINGER with 0 seconds throws away what was not sent."""
    try:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:  # Closed before.
        return
    stream.socket.close()


@asynccontextmanager
async def fault_proxy(host: str, port: int, *, random: Random | None = None) -> AsyncIterator[FaultProxy]:
    """Run a proxy in front of *host* and *port*; *random* decides its port and the jitter."""
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(host, port, nursery, Random() if random is None else random)
        await proxy.accept()
        try:
            yield proxy
        finally:
            nursery.cancel_scope.cancel()
