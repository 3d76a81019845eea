"""The client on a real Redis."""

import inspect
import random

import pytest
import trio
from redis.asyncio import Redis
from redis.exceptions import DataError, ResponseError

from resprout.actors.connection.on_down import WAIT
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.commands import CommandRefused
from resprout.runtime.errors import DeadlineExceeded, OutcomeUnknown, Phase, Sent, Unavailable

pytestmark = pytest.mark.real


async def test_commands_answer_in_the_shapes_of_redis_py(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        assert await redis.set("k", "v", ex=10) is True
        assert await redis.get("k") == b"v"
        assert await redis.get("nothing") is None
        assert await redis.hset("h", mapping={"a": 1, "b": 2.5}) == 2
        assert await redis.hgetall("h") == {b"a": b"1", b"b": b"2.5"}
        assert await redis.zadd("z", {"one": 1, "two": 2}) == 2
        assert await redis.zrange("z", 0, -1, withscores=True) == [(b"one", 1.0), (b"two", 2.0)]
        assert await redis.sadd("s", "x") == 1
        assert await redis.smembers("s") == {b"x"}
        entry = await redis.xadd("stream", {"f": "v"})
        assert await redis.xrange("stream") == [(entry, {b"f": b"v"})]
        assert await redis.xread({"stream": 0}) == [[b"stream", [(entry, {b"f": b"v"})]]]
        assert await redis.mget("k", "nothing") == [b"v", None]
        assert (await redis.info("server"))["tcp_port"] == redis_at.port
        assert await redis.eval("return {KEYS[1], ARGV[1]}", 1, "a", "b") == [b"a", b"b"]
        assert [key async for key in redis.scan_iter("h*")] == [b"h"]
        assert await redis.bitfield("bits").set("u8", 0, 5).get("u8", 0).execute() == [0, 5]
        assert await redis.acl_whoami() == "default"
        assert await redis.client_getname() in (b"resprout", "resprout")
        assert await redis.execute_command("echo", bytearray(b"x")) == b"x"


async def test_strings_can_be_decoded(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate, decode_responses=True)
        await redis.hset("h", mapping={"ключ": "значение"})
        assert await redis.hgetall("h") == {"ключ": "значение"}
        await redis.set("k", "v")
        assert await redis.get("k") == "v"
        assert isinstance(await redis.dump("k"), bytes)


async def test_scripts_are_loaded_when_the_server_does_not_know_them(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        script = redis.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        assert await script(keys=["n"], args=[5]) == 5
        await redis.script_flush()
        assert await script(keys=["n"], args=[5]) == 10


async def test_errors_of_redis_are_raised_and_the_connection_stays(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis, link = RedisClient(gate), gate.live
        await redis.set("k", "v")
        with pytest.raises(ResponseError, match="not an integer"):
            await redis.incr("k")
        with pytest.raises(ResponseError, match="wrong kind"):
            await redis.lpush("k", 1)
        with pytest.raises(DataError, match="bool"):
            await redis.set("k", True)
        assert gate.live is link


async def test_a_transaction_runs_as_one(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)

        async def add_one() -> None:
            for _ in range(20):
                pipe = redis.pipeline()
                pipe.incr("n")
                pipe.hset("h", mapping={"a": 1})
                pipe.hgetall("h")
                pipe.incr("n")
                first, _, table, second = await pipe.execute()
                assert second == first + 1
                assert table == {b"a": b"1"}

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(add_one)
        assert await redis.get("n") == b"400"


async def test_a_refused_transaction_runs_nothing(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        pipe = redis.pipeline()
        pipe.set("k", "v")
        pipe.execute_command("SET", "too few")
        with pytest.raises(ResponseError, match="wrong number"):
            await pipe.execute()
        assert await redis.exists("k") == 0
        pipe = redis.pipeline()
        pipe.set("k", "v")
        pipe.incr("k")
        results = await pipe.execute(raise_on_error=False)
        assert results[0] is True
        assert isinstance(results[1], ResponseError)


async def test_a_plain_pipeline_gives_all_results(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        pipe = RedisClient(gate).pipeline(transaction=False)
        for number in range(500):
            pipe.set(f"k{number}", number)
        assert len(pipe) == 500
        assert await pipe.execute() == [True] * 500
        assert await pipe.execute() == []


@pytest.mark.parametrize(
    "command",
    [
        ("SUBSCRIBE", "c"),
        ("subscribe", "c"),
        ("MONITOR",),
        ("MULTI",),
        ("WATCH", "k"),
        ("SELECT", 1),
        ("AUTH", "x"),
        ("HELLO", 3),
        ("QUIT",),
        ("CLIENT REPLY", "OFF"),
        ("CLIENT", "reply", "OFF"),
        ("client", b"TRACKING", "ON"),
        ("BLPOP", "k", 0),
        ("WAIT", 0, 100),
        ("XREAD", "BLOCK", 0, "STREAMS", "s", "$"),
    ],
)
async def test_what_a_shared_connection_cannot_serve_is_refused(redis_at, kept, command) -> None:
    async with kept(redis_at.url) as gate:
        for _ in range(2):
            with pytest.raises(CommandRefused, match="was not sent"):
                await RedisClient(gate).execute_command(*command)


async def test_streams_can_be_called_block(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        await redis.xgroup_create("block", "block", mkstream=True)
        await redis.xadd("block", {"a": 1})
        assert len(await redis.xreadgroup("block", "block", {"block": ">"})) == 1
        assert len(await redis.xread({"block": 0})) == 1


async def test_hundreds_of_cancelled_tasks_never_see_a_foreign_reply(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis, seed = RedisClient(gate), random.Random(7)
        link = gate.live
        wrong, answered, cancelled = [], 0, 0
        for number in range(500):
            await redis.set(f"user:{number}", f"secret of {number}")

        async def user(number: int, patience: list[float]) -> None:
            nonlocal answered, cancelled
            mine = f"secret of {number}".encode()
            for seconds in patience:
                with trio.move_on_after(seconds):
                    reply = await redis.get(f"user:{number}")
                    answered += 1
                    if reply != mine:
                        wrong.append((number, reply))
                    continue
                cancelled += 1

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(user, number, [seed.uniform(0, 0.02) for _ in range(20)])
        assert wrong == []
        assert answered + cancelled == 10_000
        assert min(answered, cancelled) > 500, "the storm must really cancel and really answer"
        assert gate.live is link


async def test_while_redis_is_down_calls_say_so_and_never_return_none(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        await redis.set("k", "v")
        redis_at.kill()
        await trio.sleep(0.1)
        for _ in range(20):
            with pytest.raises(Unavailable) as caught:
                await redis.get("k")
            assert caught.value.sent is Sent.NO
            assert caught.value.retry_after is not None
            assert caught.value.state in ("backing_off", "connecting")
        await redis_at.restart()
        assert await redis.using(on_down=WAIT, timeout=40).get("k") in (b"v", None)


async def test_replies_lost_in_a_crash_are_reported_by_what_is_known(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        redis_at.freeze()
        ended: dict[str, Exception] = {}

        async def ask(name: str, client: RedisClient) -> None:
            try:
                await (client.get("k") if name == "get" else client.incr("n"))
            except Exception as error:  # noqa: BLE001 - collected.
                ended[name] = error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "get", redis)
            nursery.start_soon(ask, "incr", redis)
            nursery.start_soon(ask, "idempotent incr", redis.using(idempotent=True))
            await trio.sleep(0.1)
            redis_at.kill()
        assert isinstance(ended["get"], Unavailable)
        assert isinstance(ended["incr"], OutcomeUnknown)
        assert ended["incr"].sent is Sent.YES
        assert isinstance(ended["idempotent incr"], OutcomeUnknown), "written, and no link to repeat it on"


async def test_an_increment_never_runs_twice(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate, on_down=WAIT, timeout=3)
        known, unknown, cuts_left = 0, 0, 8

        async def count() -> None:
            nonlocal known, unknown
            while cuts_left:
                try:
                    await redis.incr("n")
                    known += 1
                except OutcomeUnknown:
                    unknown += 1

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(count)
            while cuts_left:
                await trio.sleep(0.05)
                if gate.live is not None:
                    gate.live.abort(OSError("cut by the test"))
                    cuts_left -= 1
        assert unknown > 0, "the cuts must hit commands under way"
        assert known <= int(await redis.get("n") or 0) <= known + unknown


async def test_a_frozen_server_frees_callers_at_their_deadline_and_heals(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate, timeout=0.5)
        await redis.set("k", "v")
        redis_at.freeze()
        began = trio.current_time()
        with pytest.raises(DeadlineExceeded) as late:
            await redis.get("k")
        assert late.value.phase is Phase.READ
        with pytest.raises(OutcomeUnknown):
            await redis.incr("n")
        assert trio.current_time() - began == pytest.approx(1.0, abs=0.2)
        redis_at.thaw()
        assert await redis.get("k") == b"v"
        assert await redis.get("n") == b"1"


def test_every_command_method_of_redis_py_is_there() -> None:
    ours = {name for name, _ in inspect.getmembers(RedisClient, callable)}
    commands = set()
    for base in Redis.__mro__:
        if base.__module__.startswith("redis.commands.") and "sentinel" not in base.__module__:
            commands |= {name for name, member in vars(base).items() if callable(member)}
    assert {name for name in commands if not name.startswith("_")} <= ours
