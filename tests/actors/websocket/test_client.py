"""What a client lives through: dead networks, wrong tokens, moving servers, TLS."""

import random
import ssl

import attrs
import pytest
import trio
import trustme

from resprout.actors.websocket.acceptor import ServerPolicy
from resprout.actors.websocket.client import ClientPolicy, connect
from resprout.actors.websocket.law import Counts
from resprout.actors.websocket.session import SessionPolicy
from resprout.runtime.backoff import Backoff
from resprout.testing.faultproxy import fault_proxy
from resprout.testing.toxics import BlackHole, Direction, LimitBytes, Slicer
from tests.actors.websocket.helpers import eventually, take, until

pytestmark = pytest.mark.real

QUICK = ClientPolicy(
    backoff=Backoff(floor=0.01, base=0.05, cap=0.2),
    stable=0.2,
    silence=0.3,
    silence_deadline=0.3,
    attempt_deadline=1.0,
)


def through(proxy, token="ann", **more):
    return connect(f"ws://127.0.0.1:{proxy.port}/", token, policy=QUICK, rng=random.Random(6), **more)


async def test_a_network_that_swallows_everything_is_noticed_by_both_sides(site) -> None:
    session = SessionPolicy(heartbeat=0.3, heartbeat_deadline=0.3, last_words=0.2)
    async with (
        site(policy=ServerPolicy(session=session)) as server,
        fault_proxy("127.0.0.1", server.port) as proxy,
    ):
        server.acceptor.admission = attrs.evolve(
            server.acceptor.admission, hosts={f"127.0.0.1:{proxy.port}", f"127.0.0.1:{server.port}"}
        )
        await server.hub.enqueue("ann", 1)
        async with through(proxy) as client:
            assert await take(client, 1) == [1]
            proxy.set(BlackHole())
            await server.hub.enqueue("ann", 2)
            await until(lambda: not client.connected)
            await until(lambda: server.hub.sessions == 0)
            await proxy.heal()
            assert await take(client, 1) == [2]
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=2, acked=2))
            assert client.sessions == 2


async def test_a_connection_that_is_cut_anywhere_loses_and_reorders_nothing(site) -> None:
    rng = random.Random(8)
    async with site() as server, fault_proxy("127.0.0.1", server.port) as proxy:
        server.acceptor.admission = attrs.evolve(server.acceptor.admission, hosts={f"127.0.0.1:{proxy.port}"})
        for n in range(200):
            await server.hub.enqueue("ann", n)
        got: list[object] = []
        async with through(proxy) as client:
            for _ in range(12):
                proxy.set(
                    LimitBytes(rng.randrange(200, 4_000)), Slicer(rng.randrange(1, 100)), on=Direction.REPLIES
                )
                with trio.move_on_after(0.25):
                    while True:
                        got += await take(client, 1)
                proxy.reset()
            await proxy.heal()
            while len(got) < 200:
                got += await take(client, 1)
            client.acknowledge()
            assert got == list(range(200))
            assert client.sessions > 3
            await eventually(server.hub, Counts(accepted=200, acked=200))


async def test_a_token_is_fetched_anew_for_each_attempt(site) -> None:
    tokens = iter(["bad", "bad", "ann"])

    async def fetch() -> str:
        return next(tokens)

    async with site() as server:
        await server.hub.enqueue("ann", "hello")
        async with connect(server.url, fetch, policy=QUICK, rng=random.Random(1)) as client:
            assert await take(client, 1) == ["hello"]
            assert "4401" in str(client.problem)


async def test_a_server_that_moves_is_found_again(site) -> None:
    async with site() as server:
        await server.hub.enqueue("ann", 1)
        async with connect(lambda: server.url, "ann", policy=QUICK, rng=random.Random(1)) as client:
            assert await take(client, 1) == [1]
            server.crash()
            server.port = 0
            await server.start()
            await server.hub.enqueue("ann", 2)
            assert await take(client, 1) == [2]


async def test_a_client_that_starts_before_the_server_gets_there(site) -> None:
    async with site() as server:
        server.crash()
        await server.hub.enqueue("ann", "patience")
        async with server.client() as client:
            await trio.sleep(0.3)
            assert isinstance(client.problem, OSError)
            await server.start()
            assert await take(client, 1) == ["patience"]


async def test_messages_travel_over_tls(site) -> None:
    authority = trustme.CA()
    server_side, client_side = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    authority.configure_trust(client_side)
    async with site(tls=server_side) as server:
        await server.hub.enqueue("ann", "secret")
        url = server.url.replace("ws:", "wss:")
        async with connect(url, "ann", tls=client_side, policy=QUICK) as client:
            assert await take(client, 1) == ["secret"]
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=1, acked=1))
        async with connect(url, "ann", policy=QUICK) as client:  # Trusts the system's authorities only.
            await until(lambda: client.problem is not None)
            assert not client.connected
            assert isinstance(client.problem, ssl.SSLError | trio.BrokenResourceError)


@pytest.mark.parametrize("url", ["http://localhost/", "ws://", "localhost:80", ""])
def test_a_url_of_another_kind_is_refused_at_once(url: str) -> None:
    from resprout.actors.websocket.client import Client

    with pytest.raises(ValueError, match="ws://"):
        Client(url, "ann")
