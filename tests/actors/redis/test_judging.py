"""What each error says about Redis: RESILIENCE's table of failures, successes and things that say nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum

import attrs
import hiredis
import pytest
import trio
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError, WatchError

from resprout.actors.connection import Degraded, Gate
from resprout.actors.redis import RedisClient
from resprout.actors.redis.line import LinkLimits
from resprout.runtime import DegradedReadOnly, OutcomeUnknown, PoolExhausted, ServiceError, Unavailable
from tests.actors.redis.conftest import Keep


class Says(Enum):
    """What a row of the table means here."""

    LOST = "the link is replaced, and the state machine counts it"
    FAILURE = "the breaker counts it"
    SUCCESS = "an answer: earlier failures are forgotten"
    DEGRADED = "the link serves in part; the breaker counts nothing"
    IGNORED = "it says nothing"


@attrs.define
class Scripted:
    """A server that answers *script* to whatever is not part of a handshake or a probe; None hangs up."""

    port: int = 0
    script: bytes | None = b"+OK\r\n"

    async def serve(self, stream: trio.SocketStream) -> None:
        reader = hiredis.Reader()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in stream:
                reader.feed(bytes(data))
                answers: list[bytes | None] = []
                while (asked := reader.gets()) is not False:
                    answers.append(self.answer(asked))
                if None in answers:
                    break
                await stream.send_all(b"".join(filter(None, answers)))
        await trio.aclose_forcefully(stream)

    def answer(self, asked: list[bytes]) -> bytes | None:
        match asked:
            case [b"HELLO", *_]:
                return b"%1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
            case [b"PING", word]:
                return b"$%d\r\n%b\r\n" % (len(word), word)
            case [b"MULTI"]:
                return b"+OK\r\n"
            case [b"HSET", *_]:
                return b"+QUEUED\r\n"
            case _:
                return self.script


@asynccontextmanager
async def scripted(kept: Keep) -> AsyncIterator[tuple[Gate, Scripted]]:
    server = Scripted()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, server.serve, 0)
        server.port = listeners[0].socket.getsockname()[1]
        async with kept(f"redis://127.0.0.1:{server.port}", limits=LinkLimits(max_side_links=1)) as gate:
            yield gate, server
        nursery.cancel_scope.cancel()


async def write(redis: RedisClient) -> None:
    await redis.using(timeout=0.2).set("k", "v")


async def watch(redis: RedisClient) -> None:
    pipeline = redis.pipeline()
    pipeline.hset("h", "k", "v")
    await pipeline.execute()


async def cancelled(redis: RedisClient) -> None:
    with trio.move_on_after(0.05):
        await redis.set("k", "v")
    raise InterruptedError


async def exhausted(redis: RedisClient) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(redis.blpop, ["q"], 60)
        await trio.sleep(0.1)
        with pytest.raises(PoolExhausted) as refused:
            await redis.using(timeout=0.05).blpop(["q"], 0.05)
        nursery.cancel_scope.cancel()
    raise refused.value


Do = Callable[[RedisClient], Awaitable[None]]

TABLE: list[tuple[str, bytes | None, Do, type[Exception], Says]] = [
    ("EOF", None, write, OutcomeUnknown, Says.LOST),
    ("desync", b"+OK\r\n+what nobody asked for\r\n", write, Exception, Says.LOST),
    ("not RESP", b"HTTP/1.1 200 OK\r\n", write, OutcomeUnknown, Says.LOST),
    ("LOADING", b"-LOADING Redis is loading the dataset in memory\r\n", write, Unavailable, Says.LOST),
    ("MASTERDOWN", b"-MASTERDOWN Link with MASTER is down\r\n", write, Unavailable, Says.LOST),
    ("CLUSTERDOWN", b"-CLUSTERDOWN The cluster is down\r\n", write, Unavailable, Says.LOST),
    ("timeout", b"", write, OutcomeUnknown, Says.FAILURE),
    ("OOM", b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", write, OutOfMemoryError, Says.DEGRADED),
    ("READONLY", b"-READONLY You can't write against a read only replica.\r\n", write, DegradedReadOnly, Says.DEGRADED),
    ("WRONGTYPE", b"-WRONGTYPE wrong kind of value\r\n", write, ResponseError, Says.SUCCESS),
    ("NOSCRIPT", b"-NOSCRIPT No matching script\r\n", write, NoScriptError, Says.SUCCESS),
    ("WATCH conflict", b"*-1\r\n", watch, WatchError, Says.SUCCESS),
    ("cancelled", b"", cancelled, InterruptedError, Says.IGNORED),
    ("pool exhausted", b"", exhausted, PoolExhausted, Says.IGNORED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "do", "error", "says"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
async def test_each_row_of_the_table_counts_as_it_says(
    script: bytes | None, do: Do, error: type[Exception], says: Says, kept: Keep
) -> None:
    async with scripted(kept) as (gate, server):
        link, breaker = gate.live, gate.fuse.breaker
        for _ in range(4):
            gate.failed(TimeoutError("late"))
        server.script = script
        if says is Says.LOST and error is Exception:
            with suppress(ServiceError):  # It may well get its answer before the desync is seen.
                await do(RedisClient(gate))
        else:
            with pytest.raises(error):
                await do(RedisClient(gate))
        await trio.sleep(0.02)
        assert (gate.held is not link) is (says is Says.LOST)
        assert isinstance(gate.state, Degraded) is (says is Says.DEGRADED)
        assert breaker.stats.failed == (5 if says is Says.FAILURE else 4)
        if says is not Says.LOST:
            assert (breaker.state.name == "open") is (says is Says.FAILURE)
            gate.failed(TimeoutError("late"))
            assert (breaker.state.name == "closed") is (says is Says.SUCCESS)
