"""Reading, deciding and writing with WATCH, MULTI and EXEC, and what a lost connection leaves behind."""

import pytest
import trio
from redis.exceptions import ResponseError, WatchError

from resprout.actors.connection.on_down import WAIT
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.commands import CommandRefused
from resprout.actors.redis.transaction import RedisTransaction
from resprout.runtime.errors import DeadlineExceeded, OutcomeUnknown, Sent, Unavailable
from resprout.testing.faultproxy import fault_proxy
from resprout.testing.toxics import BlackHole, Direction

pytestmark = pytest.mark.real


async def add_one(transaction: RedisTransaction) -> None:
    n = int(await transaction.get("n") or 0)
    transaction.queue.set("n", n + 1)


async def decide_nothing(_transaction: RedisTransaction) -> None:
    await trio.sleep_forever()


async def test_a_change_in_between_is_an_error_and_nothing_runs(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        async with redis.transaction("n") as transaction:
            await add_one(transaction)
            assert await redis.exists("n") == 0, "nothing runs before execute()"
            assert await transaction.execute() == [True]
        async with redis.transaction("n") as transaction:
            await add_one(transaction)
            await redis.set("n", 10)
            with pytest.raises(WatchError):
                await transaction.execute()
        assert await redis.get("n") == b"10"


async def test_concurrent_transactions_lose_no_update(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate, timeout=20.0)

        async def work() -> None:
            for _ in range(10):
                assert await redis.transact(add_one, "n") == [True]

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(work)
        assert await redis.get("n") == b"100"


async def test_a_transaction_left_without_execute_watches_nothing_any_more(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        with pytest.raises(LookupError):
            async with redis.transaction("n") as transaction:
                await transaction.get("n")
                raise LookupError
        assert gate.describe()["idle_side_links"] == 1
        async with redis.transaction() as transaction:  # On the same connection.
            await redis.set("n", 1)
            transaction.queue.set("m", 1)
            assert await transaction.execute() == [True]
            with pytest.raises(CommandRefused, match="over"):
                await transaction.get("n")
        async with redis.transaction("n") as transaction:
            assert await transaction.execute() == []


async def test_a_cancelled_transaction_takes_its_connection_with_it(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        with trio.move_on_after(0.05):
            async with redis.transaction("n") as transaction:
                transaction.queue.set("n", 1)
                await trio.sleep_forever()
        facts = gate.describe()
        assert (facts["side_links"], facts["idle_side_links"]) == (0, 0)
        assert await redis.exists("n") == 0


async def test_more_keys_can_be_watched_and_waiting_commands_cannot_run(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        async with redis.transaction() as transaction:
            await transaction.watch("a", "b")
            await redis.set("b", 1)
            with pytest.raises(CommandRefused, match="outside"):
                await transaction.blpop(["queue"], timeout=1)
            transaction.queue.set("c", 1)
            with pytest.raises(WatchError):
                await transaction.execute()


async def test_a_conflict_without_end_ends_at_the_deadline(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis, tries = RedisClient(gate, timeout=0.3), 0

        async def decide(transaction: RedisTransaction) -> None:
            nonlocal tries
            tries += 1
            await add_one(transaction)
            await redis.incr("n")

        with pytest.raises(DeadlineExceeded) as caught:
            await redis.transact(decide, "n")
        assert isinstance(caught.value.cause, WatchError)
        assert caught.value.sent is Sent.NO
        assert tries > 2
        with pytest.raises(DeadlineExceeded), trio.fail_after(2):
            await redis.transact(decide_nothing, "n")


async def test_a_lost_reply_of_exec_is_unknown_and_never_repeated(redis_at, kept) -> None:
    async with fault_proxy(redis_at.host, redis_at.port) as proxy, kept(redis_at.url) as direct:
        url = f"redis://{proxy.host}:{proxy.port}"
        async with kept(url) as gate:
            redis, tries = RedisClient(gate, on_down=WAIT, timeout=2.0), 0

            async def decide(transaction: RedisTransaction) -> None:
                nonlocal tries
                tries += 1
                await add_one(transaction)
                proxy.set(BlackHole(), on=Direction.REPLIES)

            async with trio.open_nursery() as nursery:

                async def cut() -> None:
                    while await RedisClient(direct).get("n") is None:
                        await trio.sleep(0.01)
                    proxy.reset()

                nursery.start_soon(cut)
                with pytest.raises(OutcomeUnknown):
                    await redis.transact(decide, "n")
            assert tries == 1
            assert await RedisClient(direct).get("n") == b"1"


async def test_a_connection_lost_before_exec_changes_nothing_and_is_repeated_while_waiting(
    redis_at, kept
) -> None:
    async with kept(redis_at.url) as gate:
        redis, tries = RedisClient(gate), 0

        async def decide(transaction: RedisTransaction) -> None:
            nonlocal tries
            tries += 1
            await transaction.get("n")
            if tries == 1:
                await redis.client_kill_filter(_type="normal", skipme=True)
            await add_one(transaction)

        with pytest.raises(Unavailable, match="nothing was changed"):
            await redis.transact(decide, "n")
        tries = 0
        assert await redis.using(on_down=WAIT).transact(decide, "n") == [True]
        assert (tries, await redis.get("n")) == (2, b"1")


async def test_scripts_run_on_a_server_that_forgot_them_also_in_pipelines_and_transactions(
    redis_at, kept
) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        add = redis.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        for together in (True, False):
            await redis.script_flush()
            pipe = redis.pipeline(transaction=together)
            pipe.set("n", 0)
            assert await add(["n"], [1], client=pipe) is pipe
            await add(["n"], [2], client=pipe)
            assert await pipe.execute() == [True, 1, 3]
        await redis.script_flush()
        assert await add(["n"], [4]) == 7
        async with redis.transaction("n") as transaction:
            await redis.script_flush()
            assert await add(["other"], [1], client=transaction) == 1
            await add(["n"], [1], client=transaction.queue)
            assert await transaction.execute() == [8]
        await redis_at.restart()
        assert await add(["fresh"], [1], client=redis.using(on_down=WAIT)) == 1
        with pytest.raises(ResponseError, match="not an integer"):
            await add(["fresh"], ["x"])


async def test_everything_can_be_scanned(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        many = {f"k{number}".encode() for number in range(300)}
        pipe = redis.pipeline()
        for key in many:
            pipe.set(key, 1)
            pipe.hset("{hash}", key, 1)
            pipe.sadd("{set}", key)
            pipe.zadd("{zset}", {key: 1})
        await pipe.execute()
        assert {key async for key in redis.scan_iter("k*", count=50)} == many
        assert {key async for key, _ in redis.hscan_iter("{hash}", count=50)} == many
        assert {key async for key in redis.sscan_iter("{set}", count=50)} == many
        assert {key async for key, _ in redis.zscan_iter("{zset}", count=50)} == many
