"""The loop that asyncpg runs on, with asyncio code that is not asyncpg's."""

import asyncio
import socket
from collections.abc import AsyncIterator

import asyncpg
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.actors.postgres.asyncpg_driver import AsyncpgDriver
from resprout.actors.postgres.loop import TrioLoop
from resprout.actors.postgres.transport import BACKLOG_BYTES, SocketTransport


@pytest.fixture
async def loop() -> AsyncIterator[TrioLoop]:
    """A loop that is being served."""
    async with trio.open_nursery() as nursery:
        loop = TrioLoop()
        await nursery.start(loop.serve)
        yield loop
        loop.stop()


class Collector(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: list[Exception | None] = []
        self.writing = True

    def data_received(self, data: bytes) -> None:
        if data == b"stumble":
            raise ValueError("no such message")
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def pause_writing(self) -> None:
        self.writing = False

    def resume_writing(self) -> None:
        self.writing = True


def attached(loop: TrioLoop) -> tuple[SocketTransport, Collector, socket.socket]:
    """A transport with its protocol, and the other end."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    collector = Collector()
    return loop._attach(near, collector), collector, far


async def test_asyncio_code_runs_and_returns_to_trio(loop: TrioLoop, autojump_clock: MockClock) -> None:
    async def work() -> int:
        assert asyncio.get_running_loop() is loop.as_asyncio
        async with asyncio.timeout(5):
            await asyncio.sleep(1)
        return 7

    began = trio.current_time()
    assert await loop.run(work) == 7
    assert trio.current_time() - began == pytest.approx(1)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


async def test_errors_and_timeouts_come_through(loop: TrioLoop, autojump_clock: MockClock) -> None:
    async def slow() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(60)

    async def wrong() -> None:
        await asyncio.sleep(0)
        raise LookupError("wrong")

    with pytest.raises(TimeoutError):
        await loop.run(slow)
    with pytest.raises(LookupError):
        await loop.run(wrong)


async def test_cancelling_in_trio_cancels_in_asyncio_and_waits_for_its_cleanup(
    loop: TrioLoop, autojump_clock: MockClock
) -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append(trio.current_time())

    began = trio.current_time()
    with trio.move_on_after(1) as scope:
        await loop.run(work)
    assert scope.cancelled_caught
    assert cleaned == [pytest.approx(began + 1.5)]


async def test_a_future_can_be_awaited_by_trio_and_is_cancelled_with_its_waiter(
    loop: TrioLoop, autojump_clock: MockClock
) -> None:
    future = loop.create_future()
    loop.call_later(1, future.set_result, 7)
    assert await future == 7
    forgotten = loop.create_future()
    with trio.move_on_after(1):
        await forgotten
    assert forgotten.cancelled()
    interrupted = loop.create_future()
    loop.call_later(1, loop.interrupt)
    with pytest.raises(asyncio.CancelledError):
        await interrupted


async def test_a_callback_that_raises_harms_no_other(loop: TrioLoop) -> None:
    seen: list[int] = []
    loop.call_soon(seen.append, 1)
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(seen.append, 2).cancel()
    loop.call_soon_threadsafe(seen.append, 3)
    await wait_all_tasks_blocked()
    assert seen == [1, 3]


async def test_after_the_end_nothing_hangs(loop: TrioLoop) -> None:
    loop.stop()
    await wait_all_tasks_blocked()

    async def connect() -> None:
        await loop.create_connection(Collector, "127.0.0.1", 1)

    with trio.fail_after(1), pytest.raises(ConnectionAbortedError):
        await loop.run(connect)


async def test_bytes_come_and_go_and_a_closed_peer_is_reported(loop: TrioLoop) -> None:
    transport, collector, far = attached(loop)
    assert transport.is_quiet()
    far.send(b"hello")
    assert not transport.is_quiet()
    await wait_all_tasks_blocked(0.01)
    assert bytes(collector.data) == b"hello"
    assert transport.bytes_read == 5
    transport.write(b"Q....")
    assert far.recv(100) == b"Q...."
    assert transport.bytes_ordered == 5
    transport.write(b"P....")
    assert transport.bytes_ordered == 5
    assert far.recv(100) == b"P...."
    far.shutdown(socket.SHUT_WR)  # An end in good order; a bare close may come over as a reset.
    assert not transport.is_quiet()
    await wait_all_tasks_blocked(0.01)
    assert collector.lost == [None]


async def test_a_slow_peer_pauses_the_protocol_and_loses_nothing(loop: TrioLoop) -> None:
    transport, collector, far = attached(loop)
    sent = b"x" * (4 * BACKLOG_BYTES)
    transport.write(sent)
    transport.write(b"the end")
    assert not collector.writing
    received = bytearray()
    with trio.fail_after(5):
        while len(received) < len(sent) + 7:
            await trio.lowlevel.wait_readable(far)
            received += far.recv(65536)
    assert bytes(received) == sent + b"the end"
    assert collector.writing
    assert transport.get_write_buffer_size() == 0
    transport.close()
    await wait_all_tasks_blocked(0.01)
    assert far.recv(1) == b""
    far.close()


async def test_paused_reading_leaves_bytes_to_the_kernel(loop: TrioLoop) -> None:
    transport, collector, far = attached(loop)
    transport.pause_reading()
    far.send(b"wait")
    await wait_all_tasks_blocked(0.01)
    assert not collector.data
    transport.resume_reading()
    await wait_all_tasks_blocked(0.01)
    assert bytes(collector.data) == b"wait"
    far.close()


async def test_a_protocol_that_stumbles_loses_its_connection_and_nothing_else(loop: TrioLoop) -> None:
    _, stumbler, far = attached(loop)
    other, listener, far_too = attached(loop)
    far.send(b"stumble")
    far_too.send(b"hello")
    await wait_all_tasks_blocked(0.01)
    assert [type(error) for error in stumbler.lost] == [ValueError]
    assert bytes(listener.data) == b"hello"
    other.abort()
    await wait_all_tasks_blocked(0.01)
    assert listener.lost == [None]
    far.close()
    far_too.close()


@pytest.mark.parametrize("said", [b"\x00\xff\xac\x10ij\xf4", b"R\0\0\0\0rest", b"HTTP/1.1 400 Bad Request"])
async def test_what_is_no_postgres_is_told_at_once_and_blocks_nobody(said: bytes) -> None:
    async def stranger(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said[:3])
        await trio.sleep(0.01)
        await stream.send_all(said[3:])
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, stranger, 0)
        port = listeners[0].socket.getsockname()[1]
        dsn = f"postgresql://u@127.0.0.1:{port}/x?sslmode=disable"
        with trio.fail_after(2), pytest.raises(asyncpg.ConnectionDoesNotExistError) as caught:
            await AsyncpgDriver().connect(dsn, nursery, lambda: None, name="test")
        assert "no Postgres" in repr(caught.value.__cause__)
        nursery.cancel_scope.cancel()


async def test_a_server_that_asyncpg_cannot_follow_is_no_bug_of_ours() -> None:
    async def incomplete(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(
            b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"
        )  # Welcome, ready; and no word of its version.
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, incomplete, 0)
        dsn = f"postgresql://u@127.0.0.1:{listeners[0].socket.getsockname()[1]}/x?sslmode=disable"
        with trio.fail_after(2), pytest.raises(ConnectionError, match="server_version"):
            await AsyncpgDriver().connect(dsn, nursery, lambda: None, name="test")
        nursery.cancel_scope.cancel()
