"""Queue and server in a tree: crashes, outages, and what clients and producers notice of them."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count

import attrs
import pytest
import trio

from resprout.actors.metrics import tallies_of
from resprout.actors.redis import WAIT, RedisClient, RedisConnection
from resprout.actors.websocket import (
    Admission,
    Client,
    ClientPolicy,
    ClientSession,
    Counts,
    Delivery,
    Listening,
    MemoryStore,
    MessageQueue,
    QueueClient,
    RedisStore,
    SessionEnded,
    Store,
    StoreWeak,
    TokenRefused,
    WebSocketServer,
    check_conservation,
    connect,
)
from resprout.actors.websocket.events import MessageDied, MessageFailed, StoreAway
from resprout.actors.websocket.queue import find_hub
from resprout.runtime import (
    ActorExited,
    Crashed,
    Event,
    Name,
    NotFoundError,
    OutcomeUnknown,
    ServiceError,
    Unavailable,
)
from resprout.runtime.system import System
from resprout.supervisors import CoolDown, child, supervisor
from resprout.testing.servers import LocalServer
from tests.actors.metrics.test_scrape import at, read

pytestmark = pytest.mark.real


@attrs.define
class BreakableQueue(MessageQueue):
    """Crashes when told to."""

    async def crash(self) -> None:
        raise ZeroDivisionError


@attrs.define
class BreakableServer(WebSocketServer):
    """Crashes when told to."""

    async def crash(self) -> None:
        raise ZeroDivisionError


QUEUE = Name(BreakableQueue, "queue")
LIVE = Name(BreakableServer, "live")
REDIS = Name(RedisConnection, "redis")


async def who(token: str) -> str:
    if token == "bad":
        raise TokenRefused("no")
    return token


class Running:
    """A running tree and what it reported."""

    def __init__(self, runtime: System) -> None:
        self.runtime = runtime
        self.events: list[Event] = []
        runtime.events.subscribe(self.events.append)
        self.queue = QueueClient(QUEUE)

    def url(self) -> str:
        listening = LIVE.offered(Listening)
        if listening is None:
            raise Unavailable("live", "restarting")
        return listening.url

    def client(self, token: str = "ann") -> AbstractAsyncContextManager[Client]:
        return connect(self.url, token, policy=ClientPolicy(stable=0.2), rng=random.Random(4))

    def crashes(self, place: str) -> int:
        ended = [
            event for event in self.events if isinstance(event, ActorExited) and event.actor.endswith(place)
        ]
        return sum(isinstance(event.reason, Crashed) for event in ended)

    async def settled(self, books: Counts) -> None:
        """Wait until the books say so, and prove the law."""
        with trio.move_on_after(10):
            while await self.queue.counts() != books:
                await trio.sleep(0.02)
        assert await self.queue.counts() == books
        assert await QUEUE.call(MessageQueue.audit) == books


Tree = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def tree() -> Tree:
    """``async with tree(store, redis_url=…) as running``: a queue and a server, and a Redis connection if asked."""

    @asynccontextmanager
    async def run(
        store: Store | None = None, *, redis_url: str | None = None, limits: Admission | None = None
    ) -> AsyncIterator[Running]:
        connection = [child("redis", partial(RedisConnection, redis_url), name=REDIS)] if redis_url else []
        server = partial(BreakableServer, QUEUE, who, 0, limits=limits or Admission(hosts=()))
        spec = supervisor(
            "app",
            *connection,
            child("queue", partial(BreakableQueue, store or MemoryStore()), name=QUEUE),
            child("live", server, name=LIVE),
            on_limit=CoolDown(),
        )
        running = Running(System())
        async with running.runtime.running(spec):
            yield running

    return run


async def take(client: Client, count: int) -> list[object]:
    """The data of the next *count* items."""
    with trio.fail_after(20):
        items = [await client.__anext__() for _ in range(count)]
    return [item.data if isinstance(item, Delivery) else item for item in items]


async def test_a_message_reaches_its_client_through_the_tree(tree) -> None:
    async with tree() as app, app.client() as client:
        assert await app.queue.enqueue("ann", {"hello": "world"}, id="m1") == 1
        assert await app.queue.enqueue("ann", {"hello": "world"}, id="m1") == 1
        assert await take(client, 1) == [{"hello": "world"}]
        client.acknowledge()
        await app.settled(Counts(accepted=1, acked=1))


async def test_each_session_is_an_actor_of_its_own(tree) -> None:
    async with tree() as app:
        async with app.client("ann") as ann, app.client("bob") as bob:
            await app.queue.enqueue("ann", 1)
            await app.queue.enqueue("bob", 1)
            await take(ann, 1)
            await take(bob, 1)
            first = app.runtime.ref("app/live/sessions/1")
            assert (await first.call(ClientSession.info))["user"] in ("ann", "bob")
            assert app.runtime.ref("app/live/sessions/2")
        with trio.fail_after(2):
            while LIVE.offered(Listening).acceptor.guests.total:
                await trio.sleep(0.01)
        await trio.sleep(0.05)
        with pytest.raises(NotFoundError):
            app.runtime.ref("app/live/sessions/1")


async def test_a_crash_of_the_server_loses_nothing_and_its_port_stays(tree) -> None:
    async with tree() as app, app.client() as client:
        before = app.url()
        got: list[object] = []

        async def produce() -> None:
            for n in range(60):
                await app.queue.enqueue("ann", n)
                await trio.sleep(0.01)

        async def crash() -> None:
            for _ in range(2):
                await trio.sleep(0.2)
                LIVE.cast(BreakableServer.crash)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            nursery.start_soon(crash)
            while len(got) < 60:
                got += await take(client, 1)
        client.acknowledge()
        assert got == list(range(60))
        assert app.crashes("live") == 2
        assert client.sessions == 3
        assert app.url() == before
        await app.settled(Counts(accepted=60, acked=60))


async def test_a_crash_of_the_queue_is_not_felt_by_clients(tree) -> None:
    async with tree() as app, app.client() as client:
        await app.queue.enqueue("ann", 0)
        assert await take(client, 1) == [0]
        QUEUE.cast(BreakableQueue.crash)
        with trio.fail_after(5):
            while app.crashes("queue") == 0:
                await trio.sleep(0.01)
        for n in range(1, 4):
            while True:
                try:
                    await app.queue.enqueue("ann", n, id=str(n))
                    break
                except Unavailable as error:
                    await trio.sleep(error.retry_after)
        assert await take(client, 3) == [1, 2, 3]
        client.acknowledge()
        await app.settled(Counts(accepted=4, acked=4))
        assert client.sessions == 1


async def test_a_crash_of_one_session_is_felt_by_its_client_only(tree) -> None:
    async with tree() as app, app.client("ann") as ann, app.client("bob") as bob:
        await app.queue.enqueue("bob", 1)
        assert await take(bob, 1) == [1]
        hub = find_hub(QUEUE)
        (session,) = [held for held in hub._sessions.values() if held.stream == "ann"] or [None]
        while session is None:
            await trio.sleep(0.01)
            session = hub._sessions.get("ann")
        session.listener.window = None  # A bug: whoever touches it next raises.
        session.listener.more()
        await app.queue.enqueue("ann", "still there")
        assert await take(ann, 1) == ["still there"]
        assert ann.sessions == 2
        assert bob.sessions == 1
        assert app.crashes("live") == 0
        assert [event.code for event in app.events if isinstance(event, SessionEnded)] == [1011]


async def test_a_redis_that_is_killed_in_the_middle_of_everything_loses_nothing(
    tree, redis_server: LocalServer
) -> None:
    store = RedisStore(RedisClient(REDIS, timeout=1.0), "chaos", patience=2.0)
    accepted: dict[str, list[object]] = {"ann": [], "bob": []}
    refused = unknown = 0
    got: dict[str, list[object]] = {"ann": [], "bob": []}
    stop = trio.Event()
    async with tree(store, redis_url=redis_server.url) as app:

        async def post(stream: str, data: object) -> None:
            """Until it is accepted, with one id: what is unknown may be repeated."""
            nonlocal refused, unknown
            while True:
                try:
                    await app.queue.enqueue(stream, data, id=f"{stream}-{data}")
                    accepted[stream].append(data)
                    return
                except OutcomeUnknown:
                    unknown += 1
                except ServiceError:
                    refused += 1
                    await trio.sleep(0.02)

        async def produce(stream: str) -> None:
            for n in count():
                if stop.is_set():
                    break
                await post(stream, n)
                await trio.sleep(0.001)
            await post(stream, "last")

        async def consume(stream: str) -> None:
            async with app.client(stream) as client:
                async for item in client:
                    assert isinstance(item, Delivery), item
                    got[stream].append(item.data)
                    if item.data == "last":
                        client.acknowledge()
                        return

        async def break_things() -> None:
            for _ in range(3):
                await trio.sleep(0.5)
                redis_server.kill()
                await trio.sleep(0.2)
                await redis_server.restart()
            await trio.sleep(0.5)
            LIVE.cast(BreakableServer.crash)
            redis_server.freeze()
            await trio.sleep(0.5)
            redis_server.thaw()
            await trio.sleep(0.5)
            stop.set()

        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                for stream in ("ann", "bob"):
                    nursery.start_soon(produce, stream)
                    nursery.start_soon(consume, stream)
                nursery.start_soon(break_things)
        total = len(accepted["ann"]) + len(accepted["bob"])
        assert got == accepted  # Nothing lost, nothing twice, nothing out of order.
        assert total > 100
        assert refused > 0
        await app.settled(Counts(accepted=total, acked=total))
        assert app.crashes("redis") == app.crashes("queue") == 0


async def test_each_failure_and_death_of_a_message_is_counted_once_though_redis_dies_in_between(
    tree, redis_server: LocalServer
) -> None:
    store = RedisStore(RedisClient(REDIS, timeout=1.0), "count", patience=5.0)
    async with tree(store, redis_url=redis_server.url) as app, app.client() as client:
        tallies_of(app.runtime)
        app.events.clear()  # Both begin at the same moment.
        await RedisClient(REDIS, on_down=WAIT).ping()
        for data in ("shaky", "poison", "good"):
            await app.queue.enqueue("ann", data, id=data)
        assert await take(client, 1) == ["shaky"]
        client.reject("not yet")
        redis_server.kill()
        await trio.sleep(0.2)
        await redis_server.restart()
        while (await take(client, 1)) != ["poison"]:
            client.acknowledge()
        client.reject("never", permanent=True)
        while (await take(client, 1)) != ["good"]:
            client.acknowledge()
        client.acknowledge()
        await app.settled(Counts(accepted=3, acked=2, dead=1))
        rows = await read(app.runtime)
    told = Counter(type(event) for event in app.events)
    assert told[MessageFailed] >= 1
    assert told[MessageDied] == 1
    for metric, kind in (
        ("messages_failed_total", MessageFailed),
        ("messages_given_up_total", MessageDied),
        ("store_errors_total", StoreAway),
    ):
        assert rows[at(metric, actor="app/queue")] == told[kind], metric
    assert rows[at("messages_accepted_total", actor="app/queue")] == 3
    assert rows[at("messages_acked_total", actor="app/queue")] == 2


async def test_while_redis_is_away_producers_are_told_and_nothing_crashes(
    tree, redis_server: LocalServer
) -> None:
    store = RedisStore(RedisClient(REDIS, timeout=1.0), "away")
    redis_server.kill()
    async with tree(store, redis_url=redis_server.url) as app, app.client() as client:
        with pytest.raises(Unavailable) as caught:
            await app.queue.enqueue("ann", 1)
        assert caught.value.retry_after is not None
        await trio.sleep(0.5)
        await redis_server.restart()
        with trio.fail_after(20):
            while True:
                try:
                    await app.queue.enqueue("ann", "at last", id="x")
                    break
                except ServiceError as error:
                    await trio.sleep(error.retry_after or 0.05)
        assert await take(client, 1) == ["at last"]
        assert sum(app.crashes(place) for place in ("redis", "queue", "live")) == 0


async def test_a_store_that_could_lose_messages_is_reported(tree, redis_server: LocalServer) -> None:
    async with tree(MemoryStore()) as app:
        await trio.sleep(0.1)
        assert any("memory" in event.weakness for event in app.events if isinstance(event, StoreWeak))
    strong = RedisStore(RedisClient(REDIS), "strong")
    async with tree(strong, redis_url=redis_server.url) as app:
        await trio.sleep(0.5)
        assert not any(isinstance(event, StoreWeak) for event in app.events)
        await RedisClient(REDIS).config_set("appendfsync", "everysec")
        assert any("appendfsync" in weakness for weakness in await strong.weaknesses())


async def test_dead_letters_are_listed_and_redriven_through_the_actor(tree) -> None:
    async with tree() as app, app.client() as client:
        await app.queue.enqueue("ann", "poison", id="p")
        assert await take(client, 1) == ["poison"]
        client.reject("cannot", permanent=True)
        with trio.fail_after(5):
            while not (letters := await QUEUE.call(MessageQueue.dead_letters, "ann")):
                await trio.sleep(0.01)
        assert [(letter.id, letter.reason) for letter in letters] == [("p", "permanent: cannot")]
        check_conservation(await app.queue.counts())
        assert await QUEUE.call(MessageQueue.redrive, "ann", "p") == 1
        _, again = await take(client, 2)
        assert again == "poison"
        client.acknowledge()
        await app.settled(Counts(accepted=1, acked=1, redriven=1))


async def test_listening_everywhere_needs_the_names_of_the_server() -> None:
    with pytest.raises(ValueError, match="hosts="):
        WebSocketServer(QUEUE, who, host="0.0.0.0")


async def test_an_enqueue_that_takes_too_long_says_that_its_outcome_is_unknown(tree) -> None:
    class Stuck(MemoryStore):
        async def append(self, stream, messages):
            await trio.sleep_forever()

    async with tree(Stuck()) as app:
        with pytest.raises(OutcomeUnknown):
            await app.queue.enqueue("ann", 1, timeout=0.05)
