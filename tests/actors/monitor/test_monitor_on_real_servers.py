"""The monitor watches real connections to real servers."""

from functools import partial

import pytest
import trio

from resprout.actors.auth import Authenticator, RedisSessions
from resprout.actors.connection import KeeperPolicy
from resprout.actors.monitor import HealthBoard, HealthMonitor, MonitorPolicy
from resprout.actors.postgres import PostgresPool
from resprout.actors.redis import RedisClient, RedisConnection
from resprout.runtime import Name, open_runtime
from resprout.supervisors import child, supervisor
from resprout.testing import BlackHole, LocalServer, fault_proxy

pytestmark = pytest.mark.real

REDIS = Name(RedisConnection, "redis")
DB = Name(PostgresPool, "db")
AUTH: Name[Authenticator[str]] = Name(Authenticator, "auth")
MONITOR = Name(HealthMonitor, "monitor")

# Rounds of a second instead of half a minute: these servers run on real time.
FAST = MonitorPolicy(every=1.0, recheck_every=0.1)
# And so that a peer must be found dead within 0.5 * 1.1 + 2 * 0.3 s, where it is 45 s by default.
FASTER = MonitorPolicy(every=0.5, recheck_every=0.1, check_timeout=0.3)
SELDOM = KeeperPolicy(probe_timeout=0.25, attempt_timeout=1.0)  # Its own probes come too late to help.


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


@pytest.mark.parametrize("fault", ["frozen", "black hole"])
async def test_a_redis_that_is_silent_is_found_in_time_also_behind_an_authenticator(
    redis_server: LocalServer, fault: str
) -> None:
    sessions = RedisSessions(RedisClient(REDIS, timeout=0.2, idempotent=True))
    async with fault_proxy(redis_server.host, redis_server.port) as proxy:
        connection = partial(RedisConnection, f"redis://{proxy.host}:{proxy.port}", policy=SELDOM)
        monitor = partial(HealthMonitor, {"redis": REDIS, "auth": AUTH}, policy=FASTER)
        tree = supervisor(
            "app",
            child("redis", connection, name=REDIS),
            child("auth", partial(Authenticator, sessions), name=AUTH),
            child("monitor", monitor, name=MONITOR),
        )

        async with open_runtime(tree) as runtime:
            await not_ok_becomes(set(), within=5)
            if fault == "frozen":
                redis_server.freeze()
            else:
                proxy.set(BlackHole())
            await not_ok_becomes({"redis", "auth"}, within=1.5)
            redis_server.thaw()
            await proxy.heal()
            await not_ok_becomes(set(), within=10)
            assert [actor.restarts for actor in runtime.snapshot().children] == [0, 0, 0]
