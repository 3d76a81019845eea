"""The fault proxy does to real connections what its toxics say, and can be changed at any time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from resprout.testing import (
    Bandwidth,
    BlackHole,
    Direction,
    Ending,
    FaultProxy,
    Latency,
    LimitBytes,
    Slicer,
    Stall,
    fault_proxy,
)

pytestmark = pytest.mark.real


async def echo(stream: trio.SocketStream) -> None:
    """Answer what comes; then say ``bye`` before the end, to show that half a connection still works."""
    try:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_all(b"bye")
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def echo_behind_proxy() -> AsyncIterator[FaultProxy]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, echo, listeners)
        async with fault_proxy("127.0.0.1", port) as proxy:
            yield proxy
        nursery.cancel_scope.cancel()


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    async with echo_behind_proxy() as running:
        yield running


async def connect(proxy: FaultProxy) -> trio.SocketStream:
    stream = await trio.open_tcp_stream(proxy.host, proxy.port)
    await stream.send_all(b"hello")
    assert await receive(stream, 5) == b"hello"
    return stream


async def receive(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := bytes(await stream.receive_some(count - len(data)))):
        data += more
    return data


async def test_without_toxics_everything_passes_both_ways_and_ends_in_order(proxy: FaultProxy) -> None:
    stream, payload = await connect(proxy), bytes(range(256)) * 8000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, payload)
        assert await receive(stream, len(payload)) == payload
    await stream.send_eof()
    assert await receive(stream, 10) == b"bye"
    with trio.fail_after(1):
        while proxy.connections:
            await trio.sleep(0.01)
    assert proxy.passed == {Direction.REQUESTS: 5 + len(payload), Direction.REPLIES: 8 + len(payload)}


async def test_latency_delays_without_limiting_what_is_on_its_way(proxy: FaultProxy) -> None:
    stream = await connect(proxy)
    proxy.set(Latency(0.1), on=Direction.REPLIES)
    started = trio.current_time()
    for _ in range(5):
        await stream.send_all(b"x")
        await trio.sleep(0.01)
    assert await receive(stream, 5) == b"xxxxx"
    assert 0.1 <= trio.current_time() - started < 0.4


async def test_bandwidth_is_limited(proxy: FaultProxy) -> None:
    stream = await connect(proxy)
    proxy.set(Bandwidth(10_000), on=Direction.REPLIES)
    started = trio.current_time()
    await stream.send_all(b"x" * 3000)
    await receive(stream, 3000)
    assert 0.28 <= trio.current_time() - started < 0.9


async def test_a_slicer_sends_crumbs(proxy: FaultProxy) -> None:
    stream = await connect(proxy)
    proxy.set(Slicer(1, pause=0.01), on=Direction.REPLIES)
    await stream.send_all(b"abc")
    assert [bytes(await stream.receive_some(10)) for _ in range(3)] == [b"a", b"b", b"c"]


async def test_a_reset_is_an_error_and_a_hang_up_an_end_of_file(proxy: FaultProxy) -> None:
    first, second = await connect(proxy), await connect(proxy)
    proxy.reset()
    with pytest.raises(trio.BrokenResourceError):
        await first.receive_some(1)
    with pytest.raises(trio.BrokenResourceError):
        await second.receive_some(1)
    third = await connect(proxy)
    proxy.hang_up()
    assert await third.receive_some(1) == b""


async def test_a_black_hole_answers_nothing_and_its_connection_never_speaks_again(proxy: FaultProxy) -> None:
    stream, quiet = await connect(proxy), await connect(proxy)
    proxy.set(BlackHole(), on=Direction.REPLIES)
    await stream.send_all(b"lost")
    with trio.move_on_after(0.1) as scope:
        await stream.receive_some(1)
    assert scope.cancelled_caught
    await proxy.heal()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some(1)
    await quiet.send_all(b"fine")  # It lost nothing, so it goes on.
    assert await receive(quiet, 4) == b"fine"


async def test_a_stall_loses_nothing(proxy: FaultProxy) -> None:
    stream = await connect(proxy)
    proxy.set(Stall())
    await stream.send_all(b"later")
    with trio.move_on_after(0.1) as scope:
        await stream.receive_some(1)
    assert scope.cancelled_caught
    proxy.set()
    assert await receive(stream, 5) == b"later"


async def test_a_stalled_sender_is_made_to_wait(proxy: FaultProxy) -> None:
    stream = await connect(proxy)
    proxy.set(Stall(), on=Direction.REQUESTS)
    with trio.move_on_after(0.3) as scope:
        await stream.send_all(bytes(32 << 20))
    assert scope.cancelled_caught


async def test_taking_a_latency_away_delivers_what_it_held_back(proxy: FaultProxy) -> None:
    stream = await connect(proxy)
    proxy.set(Latency(60.0))
    await stream.send_all(b"soon")
    await trio.sleep(0.05)
    proxy.set()
    with trio.fail_after(1):
        assert await receive(stream, 4) == b"soon"


@pytest.mark.parametrize("ending", Ending)
async def test_a_byte_limit_ends_the_connection_in_the_middle_of_an_answer(
    proxy: FaultProxy, ending: Ending
) -> None:
    proxy.set(LimitBytes(8, ending), on=Direction.REPLIES)
    stream = await connect(proxy)
    await stream.send_all(b"answer")
    assert await receive(stream, 3) == b"ans"
    match ending:
        case Ending.RESET:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(1)
        case Ending.FIN:
            assert await stream.receive_some(1) == b""


async def test_a_limit_of_no_bytes_is_a_server_that_accepts_and_closes(proxy: FaultProxy) -> None:
    proxy.set(LimitBytes(0, Ending.FIN))
    for _ in range(3):
        stream = await trio.open_tcp_stream(proxy.host, proxy.port)
        assert await stream.receive_some(1) == b""
    assert proxy.accepted == 3


async def test_half_a_connection_can_be_closed(proxy: FaultProxy) -> None:
    stream = await connect(proxy)
    proxy.half_close(Direction.REQUESTS)  # The server sees the end, and its last words still arrive.
    assert await receive(stream, 10) == b"bye"


async def test_a_half_closed_answer_lets_requests_through(proxy: FaultProxy) -> None:
    stream, before = await connect(proxy), proxy.passed[Direction.REQUESTS]
    proxy.half_close(Direction.REPLIES)
    assert await stream.receive_some(1) == b""
    await stream.send_all(b"still")
    with trio.fail_after(1):
        while proxy.passed[Direction.REQUESTS] < before + 5:
            await trio.sleep(0.01)


async def test_refused_connections_come_back_at_the_same_port(proxy: FaultProxy) -> None:
    port, open_before = proxy.port, await connect(proxy)
    await proxy.refuse()
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream(proxy.host, port)
    await open_before.send_all(b"open")
    assert await receive(open_before, 4) == b"open"
    await proxy.heal()
    await connect(proxy)
    assert proxy.port == port


async def test_a_dead_server_shows_as_a_reset() -> None:
    async with fault_proxy("127.0.0.1", 1) as proxy:
        stream = await trio.open_tcp_stream(proxy.host, proxy.port)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some(1)
