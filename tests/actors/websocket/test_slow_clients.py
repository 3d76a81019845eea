"""Clients that do not keep up, and the bounds that hold all the same."""

import attrs
import pytest
import trio

from resprout.actors.websocket.acceptor import ServerPolicy
from resprout.actors.websocket.delivery import DeliveryPolicy
from resprout.actors.websocket.events import SessionEnded
from resprout.actors.websocket.hub import Hub, QueuePolicy
from resprout.actors.websocket.law import Counts
from resprout.actors.websocket.memory_store import MemoryStore
from resprout.actors.websocket.session import SessionPolicy
from tests.actors.websocket.helpers import eventually, hub_with, take, until

pytestmark = pytest.mark.real


async def test_a_slow_reader_is_paused_then_closed_and_resumes(site) -> None:
    async with site(hub=hub_with(window_messages=3, lease=0.3, max_failures=20)) as server:
        for n in range(10):
            await server.hub.enqueue("ann", n)
        async with server.client() as client:
            assert await take(client, 1) == [0]
            await until(lambda: server.hub.in_flight == 3)
            await until(lambda: client.sessions >= 2)
            ended = [event for event in server.events if isinstance(event, SessionEnded)]
            assert ended[0].code == 4508
            assert await take(client, 9) == list(range(1, 10))
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=10, acked=10))


async def test_a_slow_but_steady_reader_is_left_in_peace(site) -> None:
    async with site(hub=hub_with(window_messages=3, lease=0.3)) as server:
        for n in range(8):
            await server.hub.enqueue("ann", n)
        async with server.client() as client:
            for n in range(8):
                assert await take(client, 1) == [n]
                await trio.sleep(0.1)
            assert client.sessions == 1


async def test_a_client_that_does_not_read_at_all_holds_a_bounded_amount(site) -> None:
    policy = DeliveryPolicy(window_messages=1000, window_bytes=500_000, lease=0.5)
    store = MemoryStore(max_stream_bytes=20_000_000)
    session = SessionPolicy(last_words=0.4)
    async with site(
        hub=Hub(store, QueuePolicy(delivery=policy)), policy=ServerPolicy(session=session)
    ) as server:
        for _ in range(60):
            await server.hub.enqueue("ann", "x" * 100_000)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                % server.port
            )
            assert b" 101 " in await stream.receive_some()
            await stream.send_all(masked(b'{"type":"hello","v":1,"token":"ann"}'))
            await until(lambda: server.hub.held > 0)
            await trio.sleep(0.2)
            assert server.hub.held <= 500_000
            await until(lambda: server.hub.sessions == 0)  # Closed, though it never read a byte.
        async with server.client() as client:
            assert len(await take(client, 60)) == 60


def masked(payload: bytes) -> bytes:
    """A text frame as a client must send it, with a mask of zeros."""
    assert len(payload) < 126
    return bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload


async def test_memory_is_shared_so_that_everybody_gets_some(site) -> None:
    policy = QueuePolicy(
        delivery=DeliveryPolicy(window_bytes=40_000),
        memory=attrs.evolve(QueuePolicy().memory, max_bytes=60_000, share=0.5),
    )
    store = MemoryStore()
    async with site(hub=Hub(store, policy)) as server:
        for stream in ("ann", "bob", "eve"):
            for _ in range(20):
                await server.hub.enqueue(stream, "x" * 5_000)
        async with server.client("ann") as ann, server.client("bob") as bob, server.client("eve") as eve:
            for client in (ann, bob, eve):
                await take(client, 1)
            assert server.hub.held <= 60_000
            async with trio.open_nursery() as nursery:
                for client in (ann, bob, eve):
                    nursery.start_soon(take, client, 19)
            for client in (ann, bob, eve):
                client.acknowledge()
            await eventually(server.hub, Counts(accepted=60, acked=60))
            assert server.hub.held == 0
