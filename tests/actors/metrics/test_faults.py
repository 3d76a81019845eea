"""Each thing that happens is counted exactly once: real servers die and come back, and the events are the judge."""

import time
from collections import Counter
from functools import partial

import pytest
import trio

from resprout import (
    BreakerChanged,
    ChildSpec,
    Event,
    Name,
    PoolExhausted,
    ServiceError,
    child,
    open_runtime,
    supervisor,
)
from resprout.actors.connection import (
    AttemptFailed,
    Connecting,
    ConnectionChanged,
    ConnectionEvent,
    Gate,
    LinkLost,
    ProbeMissed,
    Ready,
    Recovered,
)
from resprout.actors.metrics import scrape, tallies_of
from resprout.actors.postgres import PostgresClient, PostgresPool
from resprout.actors.postgres.events import PoolRefused
from resprout.actors.redis import WAIT, RedisClient, RedisConnection
from resprout.runtime import System
from resprout.testing.servers import LocalServer
from tests.actors.metrics.test_scrape import Values, at, read

REDIS = Name(RedisConnection, "redis")
POSTGRES = Name(PostgresPool, "postgres")

pytestmark = pytest.mark.real


def tree(redis: str, postgres: str) -> ChildSpec:
    return supervisor(
        "app",
        child("redis", partial(RedisConnection, redis), name=REDIS),
        child("postgres", partial(PostgresPool, postgres, max_size=1), name=POSTGRES),
    )


async def test_every_transition_counts_once_while_servers_die_freeze_and_come_back(
    redis_server: LocalServer, postgres_server: LocalServer
) -> None:
    events: list[Event] = []
    async with open_runtime(tree(redis_server.url, postgres_server.url)) as system:
        system.events.subscribe(events.append)
        tallies_of(system)  # Both begin at the same moment.
        redis, postgres = RedisClient(REDIS, on_down=WAIT, timeout=20), PostgresClient(POSTGRES, on_down=WAIT)
        await kill_both(redis, postgres, redis_server, postgres_server)
        await exhaust(postgres)
        await open_the_breaker(redis, redis_server)
        rows = await read(system)
        for service in ("redis", "postgres"):
            assert_each_counted_once(
                rows, service, [e for e in events if getattr(e, "service", "") == service]
            )
    assert {type(event) for event in events} > {
        AttemptFailed,
        LinkLost,
        Recovered,
        PoolRefused,
        BreakerChanged,
    }


async def kill_both(
    redis: RedisClient, postgres: PostgresClient, redis_server: LocalServer, postgres_server: LocalServer
) -> None:
    for _ in range(2):
        await redis.set("k", "v")
        await postgres.fetchval("SELECT 1")
        redis_server.kill()
        postgres_server.kill()
        await trio.sleep(0.2)
        await redis_server.restart()
        await postgres_server.restart()
    await redis.get("k")
    await postgres.using(timeout=20).fetchval("SELECT 1")


async def exhaust(postgres: PostgresClient) -> None:
    async with postgres.acquire():
        for _ in range(3):
            with pytest.raises(PoolExhausted):
                await postgres.using(acquire_timeout=0.05, timeout=0.05).fetchval("SELECT 1")


async def open_the_breaker(redis: RedisClient, server: LocalServer) -> None:
    server.freeze()
    for _ in range(5):
        with pytest.raises(ServiceError):
            await redis.using(timeout=0.1).get("k")
    gate = REDIS.offered(Gate)
    assert gate is not None
    assert gate.fuse.breaker.state.name == "open"
    await trio.sleep(1.2)  # So that the probe under way sees the trouble.
    server.thaw()
    await redis.get("k")
    assert gate.fuse.breaker.state.name == "closed"


def assert_each_counted_once(rows: Values, service: str, events: list[Event]) -> None:
    changes = Counter(event.new.name for event in events if isinstance(event, ConnectionChanged))
    for state in ("connecting", "ready", "degraded", "backing_off", "draining", "stopped"):
        assert rows[at("connection_state_changes_total", service=service, state=state)] == changes[state]
    failed = Counter(event.kind.value for event in events if isinstance(event, AttemptFailed))
    for kind in ("network", "timeout", "name", "tls", "auth", "protocol", "service"):
        assert rows[at("recovery_failures_total", service=service, kind=kind)] == failed[kind]
    worked = sum(
        isinstance(event, ConnectionChanged)
        and isinstance(event.old, Connecting)
        and isinstance(event.new, Ready)
        for event in events
    )
    assert rows[at("recovery_attempts_total", service=service)] == failed.total() + worked
    breaker = Counter(event.new.name for event in events if isinstance(event, BreakerChanged))
    counted = Counter(
        {
            dict(labels).get("state", dict(labels).get("to", "")): int(value)
            for (name, labels), value in rows.items()
            if name == "resprout_breaker_transitions_total" and ("service", service) in labels
        }
    )
    assert +counted == +breaker
    for metric, kind in (
        ("connection_losses_total", LinkLost),
        ("connection_probes_missed_total", ProbeMissed),
        ("recovery_successes_total", Recovered),
        ("recovery_duration_seconds_count", Recovered),
    ):
        assert rows[at(metric, service=service)] == sum(isinstance(event, kind) for event in events), metric
    if service == "postgres":
        refused = sum(isinstance(event, PoolRefused) for event in events)
        assert rows[at("pool_exhausted_total", service=service)] == refused == 3
    assert sum(isinstance(event, ConnectionEvent) for event in events) > 10


async def test_with_everything_down_a_scrape_is_complete_and_takes_less_than_a_second() -> None:
    down = "127.0.0.1:1"
    async with open_runtime(tree(f"redis://{down}", f"postgresql://x@{down}/x")) as system:
        await trio.sleep(0.3)
        before = time.perf_counter()
        text, _ = await scrape(system)
        assert time.perf_counter() - before < 1
        rows = await read(system)
        await assert_counters_do_not_vanish(system, rows)
    assert b"resprout_recovery_failures_total" in text
    assert rows[at("connection_state", service="redis", state="ready")] == 0
    assert rows[at("recovery_failures_total", service="redis", kind="tls")] == 0
    assert rows[at("breaker_calls_total", service="redis", outcome="failure")] == 0


async def assert_counters_do_not_vanish(system: System, before: Values) -> None:
    """Not even while the actor is being restarted, when there is nothing to read."""
    await REDIS.call(RedisConnection.drain)
    after = await read(system)
    counters = {row for row in before if row[0].endswith("_total")}
    assert counters <= after.keys()
