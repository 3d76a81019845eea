"""A scrape of a running tree."""

import random
from functools import partial

import attrs
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from resprout import Actor, Name, Ref, System, child, open_runtime, supervisor
from resprout.actors.connection.actor import Connection
from resprout.actors.metrics import FAMILIES, scrape, tallies_of
from resprout.actors.websocket import MemoryStore, MessageQueue, QueueClient
from resprout.runtime import Recipe
from resprout.runtime.breaker_rules import Force
from resprout.runtime.breakers import breakers
from resprout.runtime.retry_budget import RetryPolicy, retry_budgets
from resprout.supervisors import ONE_FOR_ALL, DynamicSupervisor, dynamic_supervisor
from tests.actors.connection.fake_server import FakeLink, FakeServer

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@attrs.define
class Worker(Actor):
    async def crash(self) -> None:
        raise RuntimeError("on purpose")

    async def block(self) -> None:
        await trio.sleep_forever()


@attrs.define
class Dial(Connection):
    server: FakeServer
    service: str = "redis"

    async def on_start(self) -> None:
        self.keep(self.service, self.server.connect)


POOL = Name(DynamicSupervisor, "pool")
QUEUE = Name(MessageQueue, "queue")


async def read(system: System) -> Values:
    text = (await scrape(system))[0].decode()
    rows: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in rows
            rows[key] = sample.value
    return rows


def at(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"resprout_{name}", tuple(sorted(labels.items()))


def small(*children: Recipe) -> Recipe:
    return supervisor("app", child("worker", Worker), *children)  # type: ignore[arg-type]  # All are specs.


async def crash(ref: Ref[Actor]) -> None:
    with pytest.raises(Exception, match="on purpose"):
        await ref.call(Worker.crash)


async def test_every_metric_of_the_catalogue_is_described_in_the_text() -> None:
    async with open_runtime(small()) as system:
        text = (await scrape(system))[0].decode()
    for family in FAMILIES:
        assert f"# TYPE {family.name} {family.kind.value}\n" in text
        assert f"# HELP {family.name} {family.help}\n" in text


async def test_what_never_happened_is_zero_and_not_absent() -> None:
    server = FakeServer()
    async with open_runtime(small(child("redis", partial(Dial, server)))) as system:
        rows = await read(system)
    assert rows[at("actor_restarts_total", actor="app/worker")] == 0
    assert rows[at("actor_exits_total", actor="app/worker", reason="crashed")] == 0
    assert rows[at("recovery_failures_total", service="redis", kind="tls")] == 0
    assert rows[at("recovery_duration_seconds_count", service="redis")] == 0


async def test_a_group_that_restarts_counts_once_for_each_member() -> None:
    group = supervisor("group", child("a", Worker), child("b", Worker), strategy=ONE_FOR_ALL)
    async with open_runtime(supervisor("app", group)) as system:
        tallies_of(system)
        await crash(system.ref("app/group/a"))
        await trio.testing.wait_all_tasks_blocked()
        rows = await read(system)
    assert rows[at("actor_restarts_total", actor="app/group/a")] == 1
    assert rows[at("actor_restarts_total", actor="app/group/b")] == 1
    assert rows[at("actor_exits_total", actor="app/group/a", reason="crashed")] == 1
    assert rows[at("actor_exits_total", actor="app/group/b", reason="shutdown")] == 1


async def test_any_number_of_dynamic_actors_makes_one_row() -> None:
    async with open_runtime(supervisor("app", dynamic_supervisor("pool", name=POOL))) as system:
        tallies_of(system)
        for number in range(50):
            await POOL.call(DynamicSupervisor.start_child, child(f"worker-{number}", Worker))
        await crash(system.ref("app/pool/worker-7"))
        await trio.testing.wait_all_tasks_blocked()
        rows = await read(system)
    assert rows[at("dynamic_actors", actor="app/pool/*", kind="Worker")] == 50
    assert rows[at("actor_restarts_total", actor="app/pool/*")] == 1
    assert not [row for row in rows if "worker-" in str(row)]


async def test_waiting_messages_and_dead_letters_are_shown(autojump_clock: MockClock) -> None:
    async with open_runtime(small()) as system:
        worker = system.ref("app/worker")
        for _ in range(4):
            worker.cast(Worker.block)
        await trio.testing.wait_all_tasks_blocked()
        rows = await read(system)
        assert rows[at("mailbox_messages", actor="app/worker")] == 3
        assert rows[at("mailbox_capacity_messages", actor="app/worker")] == 1000
        assert rows[at("actor_running", actor="app/worker")] == 1
        assert rows[at("dead_letters_total")] == 0
        assert rows[at("tasks")] > 2


async def test_an_outage_is_told_from_its_begin_to_its_end(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with open_runtime(small(child("redis", partial(Dial, server)))) as system:
        tallies_of(system)
        await trio.sleep(10)
        server.up = False
        server.link.die()
        await trio.sleep(60)
        down = await read(system)
        assert down[at("connection_state", service="redis", state="ready")] == 0
        assert sum(value for (name, _), value in down.items() if name == "resprout_connection_state") == 1
        failed = down[at("recovery_failures_total", service="redis", kind="network")]
        assert failed == len(server.attempts) - 1
        server.up = True
        await trio.sleep(60)
        up = await read(system)
        assert up[at("connection_state", service="redis", state="ready")] == 1
        assert up[at("connection_losses_total", service="redis")] == 1
        assert up[at("recovery_successes_total", service="redis")] == 1
        assert up[at("recovery_attempts_total", service="redis")] == len(server.attempts)
        assert 60 < up[at("recovery_duration_seconds_sum", service="redis")] < 95
        assert up[at("reconnect_backoff_seconds", service="redis")] == 0
        assert up[at("actor_restarts_total", actor="app/redis")] == 0


async def test_a_breaker_shows_its_state_its_calls_and_how_long_it_was_open(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(small()) as system:
        tallies_of(system)
        breaker = breakers().get("auth", random=random.Random(1), emit=system.events.emit, actor="app/worker")
        with breaker.admit():
            pass
        breaker.force(Force.OPEN, by="me", reason="test", seconds=100)
        await trio.sleep(40)
        rows = await read(system)
        assert rows[at("breaker_state", service="auth", state="forced_open")] == 1
        assert rows[at("breaker_state", service="auth", state="closed")] == 0
        assert rows[at("breaker_calls_total", service="auth", outcome="success")] == 1
        assert rows[at("breaker_open_seconds_total", service="auth")] == 40
        breaker.release()
        await trio.sleep(40)
        assert (await read(system))[at("breaker_open_seconds_total", service="auth")] == 40


async def test_a_retry_budget_shows_what_it_granted_and_refused() -> None:
    async with open_runtime(small()) as system:
        tallies_of(system)
        budget = retry_budgets().get("billing", RetryPolicy(minimum=1))
        with budget.call() as first, budget.call() as second:
            assert first.may_retry()
            assert not second.may_retry()
        rows = await read(system)
        assert rows[at("retries_total", service="billing")] == 1
        assert rows[at("retry_budget_exhausted_total", service="billing")] == 1


async def test_the_books_of_a_queue_are_shown() -> None:
    queue = child("queue", partial(MessageQueue, MemoryStore()), name=QUEUE)
    async with open_runtime(supervisor("app", queue)) as system:
        await QueueClient(QUEUE).enqueue("ann", "hello")
        rows = await read(system)
    assert rows[at("messages_accepted_total", actor="app/queue")] == 1
    assert rows[at("messages_pending", actor="app/queue")] == 1
    assert rows[at("messages_conservation_error", actor="app/queue")] == 0
    assert rows[at("queue_readable", actor="app/queue")] == 1


class HangingStore(MemoryStore):
    async def counts(self, stream: str | None = None) -> object:  # type: ignore[override]  # It never returns.
        await trio.sleep_forever()


class BrokenStore(MemoryStore):
    async def counts(self, stream: str | None = None) -> object:  # type: ignore[override]  # It never returns.
        raise ConnectionError("away")


@pytest.mark.parametrize("store", [HangingStore, BrokenStore])
async def test_a_store_that_is_away_costs_half_a_second_and_its_rows(
    autojump_clock: MockClock, store: type[MemoryStore]
) -> None:
    queue = child("queue", partial(MessageQueue, store()), name=QUEUE)
    async with open_runtime(supervisor("app", queue)) as system:
        before = trio.current_time()
        rows = await read(system)
        assert trio.current_time() - before <= 0.5
    assert rows[at("queue_readable", actor="app/queue")] == 0
    assert at("messages_accepted_total", actor="app/queue") not in rows
    assert rows[at("queue_sessions", actor="app/queue")] == 0


class FakeLine(list[int]):
    """Callers that wait."""


@attrs.frozen
class FakeCensus:
    empty: int = 3
    connecting: int = 1
    idle: int = 2
    in_use: int = 4


async def test_a_link_that_is_a_pool_shows_its_slots(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with open_runtime(small(child("db", partial(Dial, server, "postgres")))) as system:
        await trio.sleep(1)
        server.link.line = FakeLine([1, 2])  # type: ignore[attr-defined]  # What makes it a pool.
        server.link.census = FakeCensus  # type: ignore[attr-defined]
        rows = await read(system)
    assert rows[at("pool_connections", service="postgres", state="in_use")] == 4
    assert rows[at("pool_waiters", service="postgres")] == 2
    assert rows[at("pool_exhausted_total", service="postgres")] == 0


async def test_the_certificate_of_a_live_link_shows_when_it_expires(autojump_clock: MockClock) -> None:
    class Certified(FakeLink):
        def tls_expiry(self) -> float:
            return 1_800_000_000.0

    server = FakeServer(make_link=Certified)
    async with open_runtime(supervisor("app", child("redis", partial(Dial, server)))) as system:
        await trio.sleep(1)
        assert (await read(system))[at("tls_expiry_timestamp_seconds", service="redis")] == 1_800_000_000.0


async def test_counting_goes_on_over_all_scrapes_and_begins_with_the_first_question() -> None:
    async with open_runtime(small()) as system:
        assert tallies_of(system) is tallies_of(system)
        await crash(system.ref("app/worker"))
        await trio.testing.wait_all_tasks_blocked()
        assert [
            (await read(system))[at("actor_exits_total", actor="app/worker", reason="crashed")]
            for _ in range(3)
        ] == [1, 1, 1]
