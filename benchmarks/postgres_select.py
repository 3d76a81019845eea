"""One-row SELECT on 10 connections through `PostgresClient` against an asyncpg pool on uvloop.

Each contender is a process of its own, started by the same run and talking to the same server; they take
turns of a fraction of a second. asyncpg's pool is relieved of its reset query, a second round trip for each
statement, because ours resets only what somebody held. Reported is the ratio of statements per second.
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

import asyncpg
import trio
import uvloop

from benchmarks.compare import Row, at_least, medians, report
from resprout.actors.postgres import WAIT, PostgresClient, PostgresPool
from resprout.runtime import Name, open_runtime
from resprout.supervisors import child, supervisor
from resprout.testing.servers import postgres_server

DB = Name(PostgresPool, "db")
CONNECTIONS = 10
ROUNDS = 7
SECONDS = 0.5
GOAL = 0.9
SELECT = "SELECT id, name, score FROM players WHERE id = $1"

Worker: TypeAlias = "subprocess.Popen[str]"


def measure() -> list[Row]:
    """Rows for `python -m benchmarks`."""
    return trio.run(_measure_beside_a_server)


async def _measure_beside_a_server() -> list[Row]:
    async with postgres_server() as server:
        return await trio.to_thread.run_sync(_measure, server.url)


def _measure(url: str) -> list[Row]:
    asyncio.run(prepare(url))
    with worker("ours", url) as ours, worker("theirs", url) as theirs:
        return compare(ours, theirs)


async def prepare(url: str) -> None:
    """A table to read from."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE players (id int PRIMARY KEY, name text, score float8)")
    await connection.execute(
        "INSERT INTO players SELECT n, 'player ' || n, n / 7.0 FROM generate_series(1, 1000) n"
    )
    await connection.execute("ANALYZE players")
    await connection.close()


def compare(ours: Worker, theirs: Worker) -> list[Row]:
    """Let both take turns."""
    cpu_ours, cpu_theirs = list[float](), list[float]()
    cost = medians(
        {"ours": partial(ask, ours, cpu_ours), "theirs": partial(ask, theirs, cpu_theirs)},
        ROUNDS,
    )
    name = f"Postgres one-row SELECT, {CONNECTIONS} connections, against an asyncpg pool on uvloop"
    note = f"{1e6 / cost['ours']:,.0f}/s against {1e6 / cost['theirs']:,.0f}/s"
    cpu, their_cpu = statistics.median(cpu_ours), statistics.median(cpu_theirs)
    cpu_note = f"{cpu:.1f} us against {their_cpu:.1f} us of the client's CPU for each statement"
    return [
        at_least(name, cost["theirs"] / cost["ours"], GOAL, note),
        report(f"{name}, CPU", their_cpu / cpu, "higher", cpu_note),
    ]


@contextmanager
def worker(kind: str, url: str) -> Iterator[Worker]:
    """A process that measures each time it is asked."""
    command = [sys.executable, "-m", "benchmarks.postgres_select", kind, url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(process: Worker, cpu: list[float]) -> float:
    """Microseconds per statement by the clock on the wall; those of CPU are added to *cpu*."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    wall, used = process.stdout.readline().split()
    cpu.append(float(used))
    return float(wall)


class Stopwatch:
    """Counts statements for SECONDS, and says what each cost."""

    def __init__(self) -> None:
        self.count = 0
        self.until = time.perf_counter() + SECONDS
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def tell(self) -> None:
        """Print microseconds per statement, wall and CPU."""
        wall, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        print(f"{wall / self.count * 1e6} {cpu / self.count * 1e6}", flush=True)


async def ours(url: str) -> None:
    """Ten tasks on one pool of an actor in a tree."""
    db = PostgresClient(DB, on_down=WAIT)

    async def one(watch: Stopwatch) -> None:
        while time.perf_counter() < watch.until:
            for number in range(1, 11):
                row = await db.fetchrow(SELECT, number)
                assert row is not None
                assert row["id"] == number
            watch.count += 10

    pool = partial(PostgresPool, url, min_size=CONNECTIONS, max_size=CONNECTIONS)
    async with open_runtime(supervisor("app", child("db", pool, name=DB))):
        while (await DB.call(PostgresPool.status)).connections.open < CONNECTIONS:  # noqa: ASYNC110 - once.
            await trio.sleep(0.01)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            watch = Stopwatch()
            async with trio.open_nursery() as nursery:
                for _ in range(CONNECTIONS):
                    nursery.start_soon(one, watch)
            watch.tell()


class Connection(asyncpg.Connection):
    """Like ours, not reset after a single statement."""

    def get_reset_query(self) -> str:
        """None."""
        return ""


async def theirs(url: str) -> None:
    """Ten tasks on one pool of asyncpg."""

    async def one(watch: Stopwatch) -> None:
        while time.perf_counter() < watch.until:
            for number in range(1, 11):
                row = await pool.fetchrow(SELECT, number)
                assert row is not None
                assert row["id"] == number
            watch.count += 10

    async with asyncpg.create_pool(
        url, min_size=CONNECTIONS, max_size=CONNECTIONS, connection_class=Connection
    ) as pool:
        while await asyncio.to_thread(sys.stdin.readline):
            watch = Stopwatch()
            await asyncio.gather(*(one(watch) for _ in range(CONNECTIONS)))
            watch.tell()


if __name__ == "__main__":
    kind, url = sys.argv[1:]
    if kind == "ours":
        trio.run(ours, url)
    else:
        uvloop.run(theirs(url))
