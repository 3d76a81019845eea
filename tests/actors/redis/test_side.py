"""Commands that wait on the server, each on a connection beside the shared one."""

import pytest
import trio
from redis.exceptions import ResponseError

from resprout.actors.connection.on_down import WAIT
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.commands import CommandRefused
from resprout.actors.redis.line import LinkLimits
from resprout.runtime.errors import OutcomeUnknown, PoolExhausted, Unavailable
from resprout.testing.servers import redis_server

pytestmark = pytest.mark.real


async def until(what) -> None:
    with trio.fail_after(5):
        while not what():
            await trio.sleep(0.01)


async def blocked_clients(redis: RedisClient, number: int) -> None:
    """Wait until the server keeps so many callers waiting."""
    with trio.fail_after(5):
        while (await redis.info("clients"))["blocked_clients"] != number:
            await trio.sleep(0.01)


async def test_whoever_waits_on_the_server_keeps_nobody_else_waiting(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis, jobs = RedisClient(gate, timeout=1.0), []

        async def work() -> None:
            jobs.append(await redis.blpop(["queue"], timeout=5))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(work)
            await blocked_clients(redis, 5)
            began = trio.current_time()
            for number in range(100):
                await redis.set("k", number)
            assert trio.current_time() - began < 1
            for number in range(5):
                await redis.rpush("queue", number)
        assert sorted(jobs) == [(b"queue", b"%d" % number) for number in range(5)]
        assert gate.describe()["idle_side_links"] == 5


async def test_connections_are_used_again_one_after_the_other(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        for _ in range(10):
            assert await redis.blpop(["queue"], timeout=0.01) is None
        with pytest.raises(ResponseError, match="wrong kind"):
            await redis.set("queue", "no list")
            await redis.blpop(["queue"], timeout=0.01)
        assert await redis.bzpopmin("other", timeout=0.01) is None
        assert gate.describe()["idle_side_links"] == 1
        assert (await redis.info("clients"))["connected_clients"] == 2


async def test_every_kind_of_waiting_command_is_served(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        await redis.rpush("list", "a", "b", "c")
        assert await redis.blmove("list", "done", 1) == b"a"
        assert await redis.brpop("list", 1) == (b"list", b"c")
        assert await redis.blmpop(1, 1, "list", direction="LEFT") == [b"list", [b"b"]]
        await redis.zadd("z", {"m": 1})
        assert await redis.bzpopmax("z", 1) == (b"z", b"m", 1.0)
        entry = await redis.xadd("s", {"f": "v"})
        assert await redis.xread({"s": 0}, block=1000) == [[b"s", [(entry, {b"f": b"v"})]]]
        await redis.xgroup_create("s", "g", id="0")
        assert len(await redis.xreadgroup("g", "c", {"s": ">"}, block=1000)) == 1
        assert not await redis.xreadgroup("g", "c", {"s": ">"}, block=10)


async def test_waiting_for_ever_is_refused(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        with pytest.raises(CommandRefused, match="for ever"):
            await RedisClient(gate).blpop(["queue"], timeout=0)


async def test_a_job_is_not_handed_to_a_caller_who_went_away(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        await redis.blpop(["queue"], timeout=0.01)  # So that the next one uses a connection again.
        for patience in (0.0, 0.001, 0.01, 0.1):
            with trio.move_on_after(patience):
                await redis.blpop(["queue"], timeout=10)
        await blocked_clients(redis, 0)
        await redis.rpush("queue", "job")
        assert await redis.lrange("queue", 0, -1) == [b"job"]
        assert gate.describe()["side_links"] == 0


async def test_nobody_gets_the_job_of_another_in_a_storm_of_cancels(redis_at, kept) -> None:
    async with kept(redis_at.url, limits=LinkLimits(max_side_links=8)) as gate:
        redis, wrong, got = RedisClient(gate, timeout=20), [], 0

        async def ask(number: int) -> None:
            nonlocal got
            queue = f"queue:{number % 5}"
            with trio.move_on_after(number % 7 * 0.004 or 20):
                found = await redis.blpop([queue], timeout=0.5)
                if found is not None:
                    got += 1
                    if found != (queue.encode(), f"job of {queue}".encode()):
                        wrong.append(found)

        async def push() -> None:
            for number in range(300):
                await redis.rpush(f"queue:{number % 5}", f"job of queue:{number % 5}")
                await trio.sleep(0.001)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push)
                for number in range(200):
                    nursery.start_soon(ask, number)
        assert not wrong
        assert got > 20
        assert gate.describe()["side_links"] == 0


async def test_an_outage_ends_those_who_wait_at_once(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis, ended = RedisClient(gate), []

        async def wait(call) -> None:
            try:
                await call
            except Exception as error:  # noqa: BLE001 - collected.
                ended.append(type(error))

        with trio.fail_after(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, redis.blpop(["queue"], timeout=60))
                await blocked_clients(redis, 1)
                nursery.start_soon(wait, redis.xread({"s": "$"}, block=60_000))
                await blocked_clients(redis, 2)
                redis_at.kill()
        assert set(ended) == {OutcomeUnknown, Unavailable}, (
            "an item may have been popped, reading is harmless"
        )
        with pytest.raises(Unavailable):
            await redis.blpop(["queue"], timeout=60)
        await redis_at.restart()
        assert await redis.using(on_down=WAIT).blpop(["queue"], timeout=0.01) is None


async def test_the_loss_of_the_shared_connection_ends_those_beside_it(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(OutcomeUnknown):
                    await redis.blpop(["queue"], timeout=60)

            nursery.start_soon(wait)
            await blocked_clients(redis, 1)
            with trio.fail_after(1):
                gate.live.abort(OSError("cut by the test"))
                while gate.live is not None:
                    await trio.sleep(0.01)


async def test_the_loss_of_a_connection_beside_the_shared_one_is_its_own(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis, link = RedisClient(gate), gate.live
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(OutcomeUnknown):
                    await redis.blpop(["queue"], timeout=60)

            nursery.start_soon(wait)
            await blocked_clients(redis, 1)
            await redis.client_kill_filter(_type="normal", skipme=True)
        assert gate.live is link
        assert await redis.blpop(["queue"], timeout=0.01) is None


async def test_no_more_connections_are_opened_than_allowed(redis_at, kept) -> None:
    async with kept(redis_at.url, limits=LinkLimits(max_side_links=2)) as gate:
        redis = RedisClient(gate, timeout=0.2)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(lambda: redis.blpop(["queue"], timeout=0.6))
            await blocked_clients(redis, 2)
            with pytest.raises(PoolExhausted, match="all 2"):
                await redis.blpop(["other"], timeout=0.1)
            assert await redis.using(timeout=5).blpop(["other"], timeout=0.1) is None


async def test_a_server_that_takes_no_more_clients_is_a_typed_error(kept) -> None:
    async with redis_server(fsync="no") as server, kept(server.url) as gate:
        redis = RedisClient(gate)
        await redis.config_set("maxclients", 1)
        with pytest.raises(Unavailable, match="max number of clients"):
            await redis.blpop(["queue"], timeout=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: redis.using(on_down=WAIT).blpop(["queue"], timeout=0.01))
            await trio.sleep(0.1)
            await redis.config_set("maxclients", 100)


async def test_idle_connections_are_closed(redis_at, kept) -> None:
    async with kept(redis_at.url, limits=LinkLimits(side_idle=0.1)) as gate:
        redis = RedisClient(gate)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(lambda: redis.blpop(["queue"], timeout=0.02))
        assert gate.describe()["idle_side_links"] == 3
        await until(lambda: gate.describe()["idle_side_links"] == 0)
        await trio.sleep(0.05)
        assert (await redis.info("clients"))["connected_clients"] == 1


async def test_writes_are_confirmed_by_replicas_over_their_own_connection(redis_at, kept) -> None:
    at_once = ("--repl-diskless-sync-delay", "0")
    async with redis_server(fsync="no", arguments=at_once) as master, kept(master.url) as gate:
        redis = RedisClient(gate)
        pipe = redis.pipeline()
        pipe.set("k", "v")
        pipe.wait(1, 50)
        assert await pipe.execute() == [True, 0], "no replica yet, so nobody has confirmed"
        async with kept(redis_at.url) as replica_gate:
            replica = RedisClient(replica_gate)
            await replica.replicaof(master.host, master.port)
            with trio.fail_after(10):
                while (await replica.role())[3] != b"connected":
                    await trio.sleep(0.05)
            for transaction in (True, False):
                pipe = redis.pipeline(transaction=transaction)
                pipe.incr("n")
                pipe.wait(1, 5000)
                assert (await pipe.execute())[-1] == 1
            assert await replica.get("n") == b"2"


async def test_confirmations_that_would_mean_nothing_are_refused(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        with pytest.raises(CommandRefused, match="one pipeline"):
            await redis.wait(1, 100)
        with pytest.raises(CommandRefused, match="one pipeline"):
            redis.pipeline().wait(1, 100)
        pipe = redis.pipeline()
        pipe.set("k", "v")
        with pytest.raises(CommandRefused, match="for ever"):
            pipe.wait(1, 0)
        pipe.wait(1, 10)
        with pytest.raises(CommandRefused, match="must come last"):
            pipe.set("k", "w")
        with pytest.raises(CommandRefused, match="call it by itself"):
            redis.pipeline().blpop(["queue"], timeout=1)
