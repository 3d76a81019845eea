"""The monitor watches real connections to real servers."""

from functools import partial

import pytest
import trio

from resprout.actors.monitor import HealthBoard, HealthMonitor, MonitorPolicy
from resprout.actors.postgres import PostgresPool
from resprout.actors.redis import RedisConnection
from resprout.runtime import Name, open_runtime
from resprout.supervisors import child, supervisor
from resprout.testing import LocalServer

pytestmark = pytest.mark.real

REDIS = Name(RedisConnection, "redis")
DB = Name(PostgresPool, "db")
MONITOR = Name(HealthMonitor, "monitor")

# Rounds of a second instead of half a minute: these servers run on real time.
FAST = MonitorPolicy(every=1.0, recheck_every=0.1)


async def not_ok_becomes(expected: set[str], within: float) -> None:
    with trio.fail_after(within):
        while not_ok() != expected:
            await trio.sleep(0.02)


def not_ok() -> set[str]:
    board = MONITOR.offered(HealthBoard)
    assert board is not None
    return {name for name, one in board.readiness().services.items() if not one.ok}


async def test_readiness_names_the_servers_that_were_killed_and_forgets_them_when_they_are_back(
    redis_server: LocalServer, postgres_server: LocalServer
) -> None:
    tree = supervisor(
        "app",
        child("redis", partial(RedisConnection, redis_server.url), name=REDIS),
        child("db", partial(PostgresPool, postgres_server.url), name=DB),
        child("monitor", partial(HealthMonitor, {"redis": REDIS, "db": DB}, policy=FAST), name=MONITOR),
    )
    async with open_runtime(tree) as runtime:
        await not_ok_becomes(set(), within=5)
        redis_server.kill()
        await not_ok_becomes({"redis"}, within=2)
        postgres_server.kill()
        await not_ok_becomes({"redis", "db"}, within=5)
        await redis_server.restart()
        await not_ok_becomes({"db"}, within=5)
        await postgres_server.restart()
        await not_ok_becomes(set(), within=10)
        assert [actor.restarts for actor in runtime.snapshot().children] == [0, 0, 0]
