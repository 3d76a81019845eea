"""How long callers wait after a server is back: the first good answer after an outage of a second.

A task asks every few milliseconds, as the tasks of a busy program would. Counted from the moment the server
answers again; a connection that is back before we have noticed that counts as zero.
"""

import statistics
from functools import partial

import trio

from benchmarks.compare import Row, at_most
from resprout.actors.redis import WAIT, RedisClient, RedisConnection
from resprout.runtime import Name, ServiceError, open_runtime
from resprout.supervisors import child, supervisor
from resprout.testing.servers import LocalServer, redis_server

REDIS = Name(RedisConnection, "redis")
OUTAGES = 15
OUTAGE = 1.0
ASK_EVERY = 0.005


def measure() -> list[Row]:
    """Rows for `python -m benchmarks`."""
    waits = trio.run(recoveries, OUTAGES, OUTAGE)
    third = statistics.quantiles(waits)[2]
    note = f"seconds; of {len(waits)} the third quartile was {third:.2f} s, the longest {max(waits):.2f} s"
    median = statistics.median(waits)
    return [
        at_most("Redis, first good answer after a server's return from an outage of 1 s", median, 1.0, note)
    ]


async def recoveries(outages: int, seconds: float) -> list[float]:
    """Seconds from a server's return to the first good answer, for each of so many *outages*."""
    redis = RedisClient(REDIS)
    async with redis_server(fsync="no") as server:
        app = supervisor("app", child("redis", partial(RedisConnection, server.url), name=REDIS))
        async with open_runtime(app):
            waits = []
            for _ in range(outages):
                await redis.using(on_down=WAIT, timeout=10).ping()
                waits.append(await recovery(server, redis, seconds))
    return waits


async def recovery(server: LocalServer, redis: RedisClient, seconds: float) -> float:
    """Kill *server*, bring it back after *seconds*, and wait for the first good answer."""
    answered = 0.0
    server.kill()
    await _until_refused(redis)

    async def ask() -> None:
        nonlocal answered
        while not answered:
            await trio.sleep(ASK_EVERY)
            try:
                await redis.get("key")
            except ServiceError:
                continue
            answered = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(seconds)
        await server.restart()
        returned = trio.current_time()
    return max(0.0, answered - returned)


async def _until_refused(redis: RedisClient) -> None:
    while True:
        try:
            await redis.get("key")
        except ServiceError:
            return
        await trio.lowlevel.checkpoint()
