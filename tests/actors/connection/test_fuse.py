"""The circuit breaker that is built into every connection."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    BreakerChanged,
    BreakerPolicy,
    CircuitOpen,
    Event,
    Name,
    ReplyError,
    child,
    open_runtime,
    supervisor,
)
from resprout.actors.connection import Connection, Gate, Keeper, KeeperPolicy, Ready
from resprout.runtime.breaker_policy import FailureRate, SlowRate, SlowRateIn
from resprout.runtime.breaker_rules import Force, Open
from resprout.runtime.breakers import breakers
from tests.actors.connection.fake_server import FakeLink, FakeServer

OUTAGE = TimeoutError("no answer")


def keeper_of(
    server: FakeServer, events: list[Event] | None = None, breaker: BreakerPolicy | None = None
) -> Keeper[FakeLink]:
    return Keeper(
        "fake",
        server.connect,
        emit=(events if events is not None else []).append,
        actor="app/fake",
        random=random.Random(3),
        policy=KeeperPolicy(breaker=breaker or BreakerPolicy()),
    )


@asynccontextmanager
async def kept(keeper: Keeper[FakeLink]) -> AsyncIterator[Gate[FakeLink]]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(0.1)
        yield keeper.gate
        nursery.cancel_scope.cancel()


def fail(gate: Gate[FakeLink], times: int = 5, error: Exception = OUTAGE) -> None:
    for _ in range(times):
        gate.failed(error)


async def test_failures_over_a_live_link_open_the_breaker_and_take_the_link_from_callers(
    autojump_clock: MockClock,
) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        fail(gate, 4)
        assert gate.live is server.link
        fail(gate, 1)
        assert gate.live is None
        with pytest.raises(CircuitOpen) as refused:
            gate.link()
        assert refused.value.retry_after is not None
        assert 24 <= refused.value.retry_after <= 36
        assert refused.value.cause is OUTAGE
        assert isinstance(gate.state, Ready)  # The link is well.
        assert gate.held is server.link
        assert gate.describe()["breaker"] == "open"
        assert "circuit breaker is open" in gate.trouble()
        assert gate.fuse.breaker.stats.rejected == 1


async def test_it_closes_by_itself_when_the_time_is_over_and_nobody_calls(autojump_clock: MockClock) -> None:
    events: list[Event] = []
    async with kept(keeper_of(server := FakeServer(), events)) as gate:
        opened = trio.current_time()
        fail(gate)
        probes = len(server.link.probes)
        link = await gate.wait_link(trio.current_time() + 60)
        assert 24 <= trio.current_time() - opened <= 36.1
        assert link is server.link
        assert len(server.links) == 1
        assert len(server.link.probes) - probes <= 4  # When it opened, in between as ever, and the trial.
    changes = [event.new.name for event in events if isinstance(event, BreakerChanged)]
    assert changes == ["open", "half_open", "closed"]


async def test_by_default_a_server_that_hung_for_a_moment_serves_again_soon_and_a_broken_one_is_left_alone(
    autojump_clock: MockClock,
) -> None:
    refused_for: list[float] = []
    async with kept(keeper_of(FakeServer(), breaker=KeeperPolicy().breaker)) as gate:
        for _ in range(8):  # Its probes are well, its calls never are.
            opened = trio.current_time()
            fail(gate)
            await gate.wait_link(trio.current_time() + 60)
            refused_for.append(trio.current_time() - opened)
    assert refused_for[0] < 1.3
    assert all(24 <= seconds <= 30.1 for seconds in refused_for[-3:])


async def test_on_a_real_clock_too_it_takes_no_more_than_a_few_probes() -> None:
    policy = BreakerPolicy(open_for=0.1, open_cap=1.0)
    async with kept(keeper_of(server := FakeServer(), breaker=policy)) as gate:
        fail(gate)
        assert await gate.wait_link(trio.current_time() + 2) is server.link
        assert len(server.link.probes) <= 4


async def test_a_trial_that_fails_opens_it_again_for_longer(autojump_clock: MockClock) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        fail(gate)
        server.link.takes = 0.5
        while gate.fuse.breaker.state.name != "half_open":
            await trio.sleep(0.1)
        server.link.answers = False
        await trio.sleep(0.5)
        server.link.answers = True
        state = gate.fuse.breaker.state
        assert isinstance(state, Open)
        assert state.until - state.since > 36
        assert state.openings == 2
        assert await gate.wait_link(trio.current_time() + 80) is server.link


async def test_probes_that_saw_the_trouble_end_the_open_time_when_they_see_its_end(
    autojump_clock: MockClock,
) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        server.link.hangs = server.hangs = True
        fail(gate)
        await trio.sleep(12)  # Two probes are missed, so the link is lost, and no other can be made.
        assert gate.held is None
        server.hangs = False
        await gate.wait_link(trio.current_time() + 25)
        assert gate.live is server.link
        assert trio.current_time() < 24


async def test_a_service_that_was_slow_to_probe_is_let_in_as_soon_as_it_answers(
    autojump_clock: MockClock,
) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        link = server.link
        link.takes = 3.0
        fail(gate)
        await trio.sleep(2.9)
        assert gate.live is None
        link.takes = 0.01
        assert await gate.wait_link(trio.current_time() + 1) is link


async def test_probes_that_are_well_throughout_do_not_shorten_the_open_time(
    autojump_clock: MockClock,
) -> None:
    async with kept(keeper_of(FakeServer())) as gate:
        fail(gate)
        await trio.sleep(23.9)
        assert gate.live is None


async def test_a_success_starts_the_count_again_and_costs_one_test_of_an_attribute_otherwise(
    autojump_clock: MockClock,
) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        for _ in range(20):
            fail(gate, 4)
            gate.succeeded()
        assert gate.live is server.link
        before = gate.fuse.breaker.stats.succeeded
        gate.succeeded()
        assert gate.fuse.breaker.stats.succeeded == before  # Nothing was asked: it could change nothing.


async def test_a_rule_that_counts_all_calls_is_told_of_all(autojump_clock: MockClock) -> None:
    policy = BreakerPolicy(trips=(FailureRate(0.5, calls=20, min_calls=20),))
    async with kept(keeper_of(FakeServer(), breaker=policy)) as gate:
        for _ in range(50):
            gate.succeeded()
            gate.succeeded()
            gate.failed(OUTAGE)
        assert gate.live is not None
        for _ in range(8):
            gate.failed(OUTAGE)
        assert gate.live is None


async def test_refused_connections_and_lost_links_are_not_counted(autojump_clock: MockClock) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        for _ in range(20):
            server.up = False
            server.link.die(ConnectionResetError("reset"))
            await trio.sleep(30)
            server.up = True
            await gate.wait_link(trio.current_time() + 40)
        assert gate.fuse.breaker.stats.failed == 0


async def test_late_failures_and_business_errors_change_nothing(autojump_clock: MockClock) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        for _ in range(20):
            gate.failed(ReplyError("no such user"))
        assert gate.live is server.link
        fail(gate)
        fail(gate, 20)  # Calls that were under way when it opened.
        gate.succeeded()
        assert gate.live is None
        assert gate.fuse.breaker.state.openings == 1


async def test_callers_who_wait_for_the_link_wait_for_the_breaker_too(autojump_clock: MockClock) -> None:
    async with kept(keeper_of(FakeServer())) as gate:
        fail(gate)
        with pytest.raises(CircuitOpen):
            await gate.wait_link(trio.current_time() + 3)
        assert await gate.wait_link(trio.current_time() + 40) is gate.live


async def test_an_operator_can_open_it_and_its_end_needs_nobody(autojump_clock: MockClock) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        breaker = breakers().find("fake")
        assert breaker is gate.fuse.breaker
        breaker.force(Force.OPEN, by="ann", reason="maintenance", seconds=100)
        assert gate.live is None
        await trio.sleep(99)
        assert gate.live is None
        await trio.sleep(2)
        assert gate.live is server.link
        for force in (Force.CLOSED, Force.METRICS_ONLY):
            breaker.force(force, by="ann", reason="calls must pass", seconds=100)
            fail(gate, 20)
            assert gate.live is server.link
            await trio.sleep(102)
            assert breaker.state.name == "closed"


@attrs.define
class FakeConnection(Connection):
    server: FakeServer

    async def on_start(self) -> None:
        self.keep("fake", self.server.connect)

    async def crash(self) -> None:
        raise RuntimeError("on purpose")


async def test_it_survives_a_restart_of_the_actor_and_two_actors_have_two(autojump_clock: MockClock) -> None:
    one, two = FakeServer(), FakeServer()
    name = Name(FakeConnection, "one")
    tree = supervisor(
        "app",
        child("one", partial(FakeConnection, one), name=name),
        child("two", partial(FakeConnection, two)),
    )
    async with open_runtime(tree, seed=1) as runtime:
        await trio.sleep(1)
        gate = name.offered(Gate)
        assert gate is not None
        fail(gate)
        with pytest.raises(Exception, match="on purpose"):
            await name.call(FakeConnection.crash)
        await trio.sleep(1)
        after = name.offered(Gate)
        assert after is not None
        assert after is not gate
        assert after.held is one.link
        assert after.live is None
        assert runtime.snapshot().children[0].facts["breaker"] == "open"
        assert len(list(breakers())) == 2
        assert "breaker" not in runtime.snapshot().children[1].facts
        assert await after.wait_link(trio.current_time() + 40) is one.link


async def test_a_breaker_with_nothing_to_tell_is_forgotten_with_its_connection(
    autojump_clock: MockClock,
) -> None:
    async with kept(keeper_of(FakeServer())):
        assert len(list(breakers())) == 1
    assert not list(breakers())


async def test_a_cancelled_keeper_gives_the_permit_of_its_trial_back(autojump_clock: MockClock) -> None:
    async with kept(keeper_of(server := FakeServer())) as gate:
        fail(gate)
        server.link.takes = 0.5
        while gate.fuse.breaker.state.name != "half_open":
            await trio.sleep(0.1)
        breaker = gate.fuse.breaker
    await wait_all_tasks_blocked()
    assert breaker.state.name == "half_open"
    breaker.admit().succeeded()
    assert breaker.state.name == "closed"


@pytest.mark.parametrize("rule", [SlowRate(0.5, slow_after=1.0), SlowRateIn(0.5, slow_after=1.0)])
def test_a_rule_about_slow_calls_is_refused(rule: SlowRate | SlowRateIn) -> None:
    with pytest.raises(ValueError, match="does not time calls"):
        KeeperPolicy(breaker=BreakerPolicy(trips=(rule,)))
