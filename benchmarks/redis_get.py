"""GET through `RedisClient` against redis.asyncio on uvloop, with 1 and with 100 tasks.

Each contender is a process of its own, started by the same run and talking to the same server; they take
turns of a fraction of a second. Reported is the ratio of commands per second.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import trio
import uvloop
from redis.asyncio import Redis

from benchmarks.compare import Row, at_least, medians, report
from resprout.actors.redis import WAIT, RedisClient, RedisConnection
from resprout.runtime import Name, open_runtime
from resprout.supervisors import child, supervisor
from resprout.testing.servers import redis_server

REDIS = Name(RedisConnection, "redis")
Worker: TypeAlias = "subprocess.Popen[str]"
ROUNDS = 7
SECONDS = 0.5


def measure() -> list[Row]:
    """Rows for `python -m benchmarks`."""
    return trio.run(_measure_beside_a_server)


async def _measure_beside_a_server() -> list[Row]:
    async with redis_server(fsync="no") as server:
        return await trio.to_thread.run_sync(_measure, server.url)


def _measure(url: str) -> list[Row]:
    with worker("ours", url) as ours, worker("theirs", url) as theirs:
        return [row for tasks, goal in ((1, 1.2), (100, 8.0)) for row in compare(ours, theirs, tasks, goal)]


def compare(ours: Worker, theirs: Worker, tasks: int, goal: float) -> list[Row]:
    """Let both take turns with so many *tasks*."""
    cpu_ours, cpu_theirs = list[float](), list[float]()
    cost = medians(
        {"ours": partial(ask, ours, tasks, cpu_ours), "theirs": partial(ask, theirs, tasks, cpu_theirs)},
        ROUNDS,
    )
    name = f"Redis GET, {tasks} task{'s' * (tasks > 1)}, against redis.asyncio on uvloop"
    note = f"{1e6 / cost['ours']:,.0f}/s against {1e6 / cost['theirs']:,.0f}/s"
    cpu, their_cpu = statistics.median(cpu_ours), statistics.median(cpu_theirs)
    cpu_note = f"{cpu:.1f} us against {their_cpu:.1f} us of the client's CPU for each command"
    return [
        at_least(name, cost["theirs"] / cost["ours"], goal, note),
        report(f"{name}, CPU", their_cpu / cpu, "higher", cpu_note),
    ]


@contextmanager
def worker(kind: str, url: str) -> Iterator[Worker]:
    """A process that measures each time it is asked."""
    command = [sys.executable, "-m", "benchmarks.redis_get", kind, url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(process: Worker, tasks: int, cpu: list[float]) -> float:
    """Microseconds per command by the clock on the wall; those of CPU are added to *cpu*."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{tasks}\n")
    process.stdin.flush()
    wall, used = process.stdout.readline().split()
    cpu.append(float(used))
    return float(wall)


class Stopwatch:
    """Counts commands for SECONDS, and says what each cost."""

    def __init__(self) -> None:
        self.count = 0
        self.until = time.perf_counter() + SECONDS
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def tell(self) -> None:
        """Print microseconds per command, wall and CPU."""
        wall, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        print(f"{wall / self.count * 1e6} {cpu / self.count * 1e6}", flush=True)


async def ours(url: str) -> None:
    redis = RedisClient(REDIS)

    async def one(watch: Stopwatch) -> None:
        while time.perf_counter() < watch.until:
            for _ in range(10):
                assert await redis.get("k") == b"value"
            watch.count += 10

    async with open_runtime(supervisor("app", child("redis", partial(RedisConnection, url), name=REDIS))):
        await redis.using(on_down=WAIT).set("k", "value")
        while tasks := int(await trio.to_thread.run_sync(sys.stdin.readline) or 0):
            watch = Stopwatch()
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(one, watch)
            watch.tell()


async def theirs(url: str) -> None:
    redis = Redis.from_url(url)

    async def one(watch: Stopwatch) -> None:
        while time.perf_counter() < watch.until:
            for _ in range(10):
                assert await redis.get("k") == b"value"
            watch.count += 10

    await redis.set("k", "value")
    while tasks := int(await asyncio.to_thread(sys.stdin.readline) or 0):
        watch = Stopwatch()
        await asyncio.gather(*(one(watch) for _ in range(tasks)))
        watch.tell()


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        trio.run(ours, sys.argv[2])
    else:
        uvloop.run(theirs(sys.argv[2]))
