"""The connection as an actor in a supervised tree, with a Redis that really dies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.lowlevel

from resprout.actors.connection.states import BackingOff, Connecting, Ready
from resprout.actors.redis import WAIT, LinkLimits, RedisClient, RedisConnection
from resprout.runtime import Event, Name, OutcomeUnknown, ServiceError, Unavailable, open_runtime
from resprout.runtime.lifecycle import ActorRestarting
from resprout.supervisors import child, supervisor
from resprout.testing.servers import LocalServer

pytestmark = pytest.mark.real

REDIS = Name(RedisConnection, "redis")


@asynccontextmanager
async def tree(url: str, limits: LinkLimits | None = None) -> AsyncIterator[list[Event]]:
    """A supervisor with one connection; yields the events of the runtime."""
    events: list[Event] = []
    start = partial(RedisConnection, url, limits=limits or LinkLimits())
    app = supervisor("app", child("redis", start, name=REDIS))
    async with open_runtime(app) as runtime:
        runtime.events.subscribe(events.append)
        yield events


async def test_a_killed_redis_heals_without_any_restart(redis_at: LocalServer) -> None:
    redis = RedisClient(REDIS)
    async with tree(redis_at.url) as events:
        assert await redis.using(on_down=WAIT).set("k", "v") is True
        for _ in range(3):
            redis_at.kill()
            await trio.sleep(0.05)
            refused = 0
            with trio.fail_after(10):
                while refused < 5:
                    with pytest.raises(ServiceError):
                        await redis.get("k")
                    refused += 1
                await redis_at.restart()
                assert await redis.using(on_down=WAIT, timeout=9).set("k", "v") is True
                assert await redis.get("k") == b"v"
        assert [event for event in events if isinstance(event, ActorRestarting)] == []


async def test_load_through_an_outage_gets_answers_or_typed_errors_and_never_none(
    redis_at: LocalServer,
) -> None:
    redis = RedisClient(REDIS)
    answered = refused = 0
    stop = False

    async def load() -> None:
        nonlocal answered, refused
        while not stop:
            try:
                assert await redis.get("k") == b"v"
                answered += 1
            except ServiceError:
                refused += 1
                await trio.sleep(0.01)

    async with tree(redis_at.url) as events:
        await redis.using(on_down=WAIT).set("k", "v")
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(load)
            await trio.sleep(0.2)
            redis_at.freeze()
            await trio.sleep(0.2)
            redis_at.thaw()
            await trio.sleep(0.2)
            before = answered
            await redis_at.stop()  # In order, so that the data are there again.
            await trio.sleep(0.3)
            await redis_at.restart()
            with trio.fail_after(10):
                while answered == before or refused == 0:
                    await trio.sleep(0.05)
            await trio.sleep(0.3)
            stop = True
        assert answered > before > 0
        assert [event for event in events if isinstance(event, ActorRestarting)] == []


async def test_a_hung_redis_is_left_and_taken_back_when_it_answers(redis_at: LocalServer) -> None:
    redis = RedisClient(REDIS, timeout=0.5)
    async with tree(redis_at.url, limits=LinkLimits(reply_timeout=0.5)) as events:
        await redis.using(on_down=WAIT).set("n", 0)
        redis_at.freeze()
        began = trio.current_time()
        with pytest.raises(OutcomeUnknown):
            await redis.incr("n")
        with pytest.raises(Unavailable):
            await redis.get("n")
        assert trio.current_time() - began < 1
        await trio.sleep(1.5)  # Attempts come and go: the system accepts for the server, which says nothing.
        redis_at.thaw()
        assert await redis.using(on_down=WAIT, timeout=9).get("n") in (b"0", b"1")
        assert [event for event in events if isinstance(event, ActorRestarting)] == []


async def test_a_wrong_address_does_not_stop_the_tree_from_starting() -> None:
    redis = RedisClient(REDIS)
    async with tree("redis://127.0.0.1:1") as _:
        await trio.sleep(0.05)
        with pytest.raises(Unavailable) as caught:
            await redis.get("k")
        assert isinstance(caught.value.cause, OSError)


async def test_a_wrong_url_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="wrong Redis URL"):
        RedisConnection("http://localhost")


class Fragile(RedisConnection):
    """A connection whose actor can be crashed from outside."""

    async def crash(self) -> None:
        raise RuntimeError("crashed by the test")


async def test_clients_find_the_connection_again_after_its_actor_crashed(redis_at: LocalServer) -> None:
    fragile = Name(Fragile, "fragile")
    redis = RedisClient(fragile, on_down=WAIT, idempotent=True)
    app = supervisor("app", child("redis", partial(Fragile, redis_at.url), name=fragile))
    async with open_runtime(app):
        for number in range(3):
            assert await redis.set("k", number) is True
            fragile.cast(Fragile.crash)
            await trio.lowlevel.checkpoint()
        assert await redis.get("k") == b"2"


async def test_one_client_serves_tree_after_tree(redis_at: LocalServer) -> None:
    redis = RedisClient(REDIS, on_down=WAIT)
    for _ in range(2):
        async with tree(redis_at.url):
            await redis.ping()


async def test_operators_see_the_state_and_can_reconnect_or_hurry_it(redis_at: LocalServer) -> None:
    redis = RedisClient(REDIS)
    async with tree(redis_at.url):
        await redis.using(on_down=WAIT).ping()
        assert isinstance((await REDIS.call(RedisConnection.status)).state, Ready)
        number = await redis.client_id()
        await REDIS.call(RedisConnection.reconnect, "the test wants it")
        assert await redis.using(on_down=WAIT).client_id() > number
        redis_at.kill()
        await trio.sleep(0.05)
        await REDIS.call(RedisConnection.nudge)
        assert isinstance((await REDIS.call(RedisConnection.status)).state, BackingOff | Connecting)


async def test_a_stop_lets_calls_in_flight_finish(redis_at: LocalServer) -> None:
    replies: list[object] = []

    async def slow() -> None:
        replies.append(await redis.eval("local n = 0; for i = 1, 2e7 do n = n + 1 end; return 'done'", 0))

    redis = RedisClient(REDIS)
    async with trio.open_nursery() as nursery, tree(redis_at.url):
        await redis.using(on_down=WAIT).ping()
        nursery.start_soon(slow)
        await trio.sleep(0.02)
    assert replies == [b"done"]
