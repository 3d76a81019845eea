"""How a drain, and a rotation, ends what runs beside the shared connection: nothing is popped and lost."""

import pytest
import trio

from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.line import LinkLimits
from resprout.runtime.errors import Draining, Sent, ServiceError
from tests.actors.redis.test_side import blocked_clients, until

pytestmark = pytest.mark.real


async def test_a_drain_ends_those_who_wait_on_the_server_and_takes_nothing(redis_at, kept) -> None:
    limits = LinkLimits(max_side_links=3)
    async with kept(redis_at.url) as other, kept(redis_at.url, limits=limits) as gate:
        redis, refused = RedisClient(gate), list[Draining]()

        async def wait() -> None:
            with pytest.raises(Draining) as caught:
                await redis.blpop(["queue"], timeout=60)
            refused.append(caught.value)

        async with trio.open_nursery() as nursery:
            for _ in range(6):  # Half of them wait in line for a connection.
                nursery.start_soon(wait)
            await blocked_clients(RedisClient(other), 3)
            with trio.fail_after(2):
                gate.drain()
                await gate.wait_stopped()
        await RedisClient(other).rpush("queue", "job")
        assert await RedisClient(other).lrange("queue", 0, -1) == [b"job"]
        assert [error.sent for error in refused] == [Sent.NO] * 6


async def test_a_drain_waits_for_a_transaction_and_for_confirmations(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis, link, confirmed = RedisClient(gate), gate.live, []

        async def confirm() -> None:
            pipe = redis.pipeline()
            pipe.set("k", "v")
            pipe.wait(1, 300)
            confirmed.append(await pipe.execute())

        async with trio.open_nursery() as nursery, redis.transaction("n") as transaction:
            nursery.start_soon(confirm)
            await blocked_clients(redis, 1)
            gate.drain()
            await trio.sleep(0.4)
            assert link.live
            assert await transaction.get("n") is None
            transaction.queue.incr("n")
            assert await transaction.execute() == [1]
        assert confirmed == [[True, 0]]
        with trio.fail_after(1):
            await gate.wait_stopped()


async def test_a_drain_does_not_wait_for_a_subscription(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate, RedisClient(gate).subscribe("news") as news:
        with trio.fail_after(1):
            gate.drain()
            await gate.wait_stopped()
        with trio.fail_after(1), pytest.raises(ServiceError):
            await anext(news)


async def test_who_waits_while_the_connection_is_rotated_waits_on_over_the_new_one(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis, old, jobs = RedisClient(gate), gate.live, []

        async def wait() -> None:
            jobs.append(await redis.blpop(["queue"], timeout=1))

        async with trio.open_nursery() as nursery:
            began = trio.current_time()
            for _ in range(3):
                nursery.start_soon(wait)
            await blocked_clients(redis, 3)
            gate.rotate("the test wants it")
            await until(lambda: old.closed)
            await blocked_clients(redis, 3)
            await redis.rpush("queue", "a", "b")
        assert sorted(jobs, key=str) == [(b"queue", b"a"), (b"queue", b"b"), None]
        assert trio.current_time() - began < 1.5, "the time to wait does not begin anew"


async def test_a_login_that_may_not_end_waits_gets_its_answer_in_the_time_of_the_drain(
    redis_at, kept
) -> None:
    async with kept(redis_at.url) as gate:
        redis, link, jobs = RedisClient(gate), gate.live, []
        await redis.execute_command("ACL", "SETUSER", "default", "-client|unblock")

        async def wait() -> None:
            jobs.append(await redis.blpop(["queue"], timeout=5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await blocked_clients(redis, 1)
            nursery.start_soon(link.wait_idle)
            await trio.sleep(0.2)
            await redis.rpush("queue", "job")
        assert jobs == [(b"queue", b"job")]
