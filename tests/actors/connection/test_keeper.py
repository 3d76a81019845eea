import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.actors.connection import states
from resprout.actors.connection.events import AttemptFailed, ConnectionChanged, LinkLost, Recovered
from resprout.actors.connection.keeper import Keeper, KeeperPolicy
from resprout.actors.connection.states import BackingOff, Connecting, Degraded, Draining, Ready, Stopped
from resprout.runtime import errors
from resprout.runtime.events import Event
from tests.actors.connection.fake_server import FakeLink, FakeServer


def make_keeper(
    server: FakeServer, events: list[Event] | None = None, policy: KeeperPolicy | None = None
) -> Keeper[FakeLink]:
    return Keeper(
        "fake",
        server.connect,
        emit=(events if events is not None else []).append,
        actor="app/fake",
        random=random.Random(3),
        policy=policy or KeeperPolicy(),
    )


@asynccontextmanager
async def running(keeper: Keeper[FakeLink]) -> AsyncIterator[Keeper[FakeLink]]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        try:
            yield keeper
        finally:
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(0.001)


async def test_a_keeper_connects_probes_and_opens_the_gate(autojump_clock: MockClock) -> None:
    server, events = FakeServer(), list[Event]()
    async with running(make_keeper(server, events)) as keeper:
        with pytest.raises(errors.Unavailable) as refused:
            keeper.gate.link()
        assert refused.value.state == "connecting"
        await trio.sleep(0.1)
        assert keeper.gate.link() is server.link
        assert isinstance(keeper.gate.state, Ready)
        assert len(server.link.probes) == 1
    assert [type(event) for event in events] == [ConnectionChanged, ConnectionChanged]


class TalkativeLink(FakeLink):
    def describe(self) -> dict[str, int]:
        return {"tools": 3}


async def test_a_live_link_adds_its_own_facts_to_what_the_tree_shows(autojump_clock: MockClock) -> None:
    server = FakeServer(make_link=TalkativeLink)
    async with running(make_keeper(server)) as keeper:
        assert "tools" not in keeper.gate.describe()
        await trio.sleep(0.1)
        assert keeper.gate.describe() == {"service": "fake", "state": "ready", "tools": 3}
        server.link.die()
        await trio.sleep(0.001)
        assert "tools" not in keeper.gate.describe()


async def test_attempts_go_on_for_a_whole_day_and_the_first_good_one_is_taken(
    autojump_clock: MockClock,
) -> None:
    server, events = FakeServer(up=False), list[Event]()
    async with running(make_keeper(server, events)) as keeper:
        await trio.sleep(24 * 3600)
        assert isinstance(keeper.gate.state, BackingOff | Connecting)
        assert len(server.attempts) > 2880  # At most 30 s apart.
        gaps = [b - a for a, b in zip(server.attempts, server.attempts[1:], strict=False)]
        assert 0.05 <= min(gaps) <= max(gaps) <= 30.1
        server.up = True
        await trio.sleep(31)
        assert keeper.gate.link() is server.link
    recovered = [event for event in events if isinstance(event, Recovered)]
    assert len(recovered) == 1
    assert 24 * 3600 <= recovered[0].duration <= 24 * 3600 + 31
    assert recovered[0].attempt == len(server.attempts)


async def test_the_refusal_says_the_state_when_to_come_back_and_why(autojump_clock: MockClock) -> None:
    server = FakeServer(up=False)
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(10)
        await until(lambda: isinstance(keeper.gate.state, BackingOff))
        with pytest.raises(errors.Unavailable) as refused:
            keeper.gate.link()
        error = refused.value
        assert (error.service, error.state, error.sent) == ("fake", "backing_off", errors.Sent.NO)
        assert error.retry_after == keeper.gate.state.until - trio.current_time()
        assert error.cause is server.error
        assert error.__cause__ is server.error


async def test_an_attempt_that_hangs_ends_at_its_deadline(autojump_clock: MockClock) -> None:
    server, events = FakeServer(hangs=True), list[Event]()
    async with running(make_keeper(server, events)) as keeper:
        await trio.sleep(9.99)
        assert isinstance(keeper.gate.state, Connecting)
        await trio.sleep(0.02)
        assert isinstance(keeper.gate.state, BackingOff)
        server.hangs = False
        await trio.sleep(1)
        assert keeper.gate.link() is server.link
    failed = [event for event in events if isinstance(event, AttemptFailed)]
    assert [type(event.error) for event in failed] == [TimeoutError]
    assert failed[0].kind.value == "timeout"


async def test_a_server_that_accepts_and_then_answers_nothing_right_causes_no_hot_loop(
    autojump_clock: MockClock,
) -> None:
    server = FakeServer(bad_probes=True)
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(3600)
        assert not isinstance(keeper.gate.state, Ready)
        assert len(server.attempts) < 400
        assert all(link.closed for link in server.links[:-1])


async def test_a_server_that_accepts_and_closes_at_once_causes_no_hot_loop(autojump_clock: MockClock) -> None:
    server = FakeServer(on_connect=lambda nursery, link: nursery.start_soon(die_soon, link))

    async def die_soon(link: FakeLink) -> None:
        await trio.sleep(0.1)
        link.die()

    async with running(make_keeper(server)):
        await trio.sleep(3600)
        assert len(server.attempts) < 400


@pytest.mark.parametrize("how", ["five seconds", "a reply"])
async def test_the_backoff_starts_again_after_a_link_has_proved_itself(
    autojump_clock: MockClock, how: str
) -> None:
    server = FakeServer(up=False)
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(1000)
        server.up = True
        await keeper.gate.wait_link(trio.current_time() + 40)
        if how == "a reply":
            keeper.gate.succeeded()
        else:
            await trio.sleep(5)
        server.link.die()
        await wait_all_tasks_blocked()
        assert isinstance(keeper.gate.state, BackingOff)
        assert keeper.gate.state.attempt == 1


async def test_a_link_that_dies_young_without_a_reply_does_not_reset_the_backoff(
    autojump_clock: MockClock,
) -> None:
    server = FakeServer(up=False)
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(1000)
        before = len(server.attempts)
        server.up = True
        await keeper.gate.wait_link(trio.current_time() + 40)
        await trio.sleep(4)
        server.link.die()
        await wait_all_tasks_blocked()
        assert isinstance(keeper.gate.state, BackingOff)
        assert keeper.gate.state.attempt == before + 1


async def test_a_lost_link_is_refused_at_once_closed_and_replaced(autojump_clock: MockClock) -> None:
    server, events = FakeServer(), list[Event]()
    async with running(make_keeper(server, events)) as keeper:
        await trio.sleep(60)
        first = server.link
        reset = ConnectionResetError("reset")
        keeper.gate.lost(first, reset)
        with pytest.raises(errors.Unavailable) as refused:
            keeper.gate.link()
        assert refused.value.cause is reset
        second = await keeper.gate.wait_link(trio.current_time() + 1)
        assert second is not first
        assert first.closed
        keeper.gate.lost(first, reset)  # Late news about the old link.
        assert keeper.gate.link() is second
    assert [event.error for event in events if isinstance(event, LinkLost)] == [reset]
    assert [event.attempt for event in events if isinstance(event, Recovered)] == [1]


async def test_a_silent_peer_is_found_within_45_seconds(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(1000)
        first = server.link
        await until(lambda: trio.current_time() > first.probes[-1] + 1)
        first.hangs = True
        went_silent = trio.current_time()
        await until(lambda: server.link is not first)
        assert trio.current_time() - went_silent < 45
        await keeper.gate.wait_link(trio.current_time() + 1)


async def test_probes_come_every_thirty_seconds_give_or_take_a_tenth(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with running(make_keeper(server)):
        await trio.sleep(3600)
        gaps = [b - a for a, b in zip(server.link.probes, server.link.probes[1:], strict=False)]
        assert 27 <= min(gaps) < 28.5 < 31.5 < max(gaps) <= 33.1
        assert len(server.links) == 1


async def test_one_missed_probe_is_repeated_at_once_and_forgiven(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(1)
        server.link.answers = False
        await until(lambda: isinstance(keeper.gate.state, Degraded))
        server.link.answers = True
        assert keeper.gate.link() is server.link  # Calls still pass.
        await trio.sleep(6)
        assert isinstance(keeper.gate.state, Ready)
        assert len(server.links) == 1


async def test_an_impaired_link_serves_on_and_is_ready_after_two_clean_probes(
    autojump_clock: MockClock,
) -> None:
    server = FakeServer()
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(1)
        keeper.gate.impaired(server.link, "read only")
        assert keeper.gate.link() is server.link
        await trio.sleep(9)
        assert isinstance(keeper.gate.state, Degraded)
        await trio.sleep(2)
        assert isinstance(keeper.gate.state, Ready)


async def test_a_nudge_brings_the_attempt_forward_but_at_most_once_a_second(
    autojump_clock: MockClock,
) -> None:
    server = FakeServer(up=False)
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(1000)
        await until(lambda: (states.retry_after(keeper.gate.state, trio.current_time()) or 0) > 5)
        before = len(server.attempts)
        started = trio.current_time()
        while trio.current_time() < started + 10:
            keeper.gate.nudge()
            await trio.sleep(0.01)
        assert 9 <= len(server.attempts) - before <= 13
        server.up = True
        keeper.gate.nudge()
        await trio.sleep(1.1)
        assert keeper.gate.link() is server.link


async def test_who_is_refused_the_link_brings_the_attempt_forward(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with running(make_keeper(server)) as keeper:
        for _ in range(20):
            server.up = True
            await keeper.gate.wait_link(math.inf)
            server.up = False
            server.link.die()
            await trio.sleep(8)
            asked = trio.current_time()
            with pytest.raises(errors.Unavailable):
                keeper.gate.link()
            assert isinstance(keeper.gate.state, BackingOff | Connecting)
            assert (states.retry_after(keeper.gate.state, asked) or 0) <= 1


async def test_waiters_are_woken_when_the_link_is_ready(autojump_clock: MockClock) -> None:
    server, got = FakeServer(up=False), list[FakeLink]()

    async def wait(keeper: Keeper[FakeLink]) -> None:
        got.append(await keeper.gate.wait_link(trio.current_time() + 60))

    async with running(make_keeper(server)) as keeper, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(wait, keeper)
        await trio.sleep(5)
        assert not got
        server.up = True
    assert got == [server.link] * 10


async def test_a_waiter_gets_a_typed_error_at_its_deadline(autojump_clock: MockClock) -> None:
    async with running(make_keeper(FakeServer(up=False))) as keeper:
        with pytest.raises(errors.Unavailable, match="fake: "):
            await keeper.gate.wait_link(trio.current_time() + 3)
        assert trio.current_time() == 3


async def test_more_waiters_than_allowed_are_refused_at_once(autojump_clock: MockClock) -> None:
    keeper = make_keeper(FakeServer(up=False), policy=KeeperPolicy(max_waiters=2))
    async with running(keeper), trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(keeper.gate.wait_link, trio.current_time() + 3600)
        await wait_all_tasks_blocked()
        with pytest.raises(errors.Unavailable, match="2 callers wait"):
            await keeper.gate.wait_link(trio.current_time() + 3600)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("state", ["connecting", "backing off"])
async def test_drain_without_a_link_stops_at_once(autojump_clock: MockClock, state: str) -> None:
    server = FakeServer(up=False, hangs=state == "connecting")
    keeper = make_keeper(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(5)
        keeper.gate.drain()
    assert trio.current_time() == 5
    assert isinstance(keeper.gate.state, Stopped)


@pytest.mark.parametrize("early", [True, False])
async def test_drain_refuses_new_calls_and_waits_for_those_in_flight(
    autojump_clock: MockClock, early: bool
) -> None:
    server = FakeServer()
    keeper = make_keeper(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(5)
        keeper.gate.drain()
        with pytest.raises(errors.Draining) as refused:
            keeper.gate.link()
        assert refused.value.retry_after == 10
        await trio.sleep(3)
        assert isinstance(keeper.gate.state, Draining)
        assert not server.link.closed
        if early:
            keeper.gate.drained()
    assert trio.current_time() == (8 if early else 15)
    assert server.link.closed
    assert isinstance(keeper.gate.state, Stopped)


@pytest.mark.parametrize("where", ["connect", "probe", "wait_lost", "task"])
async def test_a_programming_error_crashes_the_keeper_and_closes_the_link(
    autojump_clock: MockClock, where: str
) -> None:
    bug = TypeError("wrong argument")
    server = FakeServer()

    async def buggy_task() -> None:
        await trio.sleep(1)
        raise bug

    def arm(nursery: trio.Nursery, link: FakeLink) -> None:
        async def buggy() -> Exception:
            await trio.lowlevel.checkpoint()
            raise bug

        if where == "task":
            nursery.start_soon(buggy_task)
        elif where != "connect":
            setattr(link, where, buggy)

    server.on_connect = arm
    if where == "connect":
        server.up, server.error = False, bug
    keeper = make_keeper(server)
    with pytest.raises(TypeError) as crashed:
        await keeper.run()
    assert crashed.value is bug
    assert all(link.closed for link in server.links)
    assert isinstance(keeper.gate.state, Stopped)


async def test_a_link_task_that_raises_a_remote_error_only_loses_the_link(autojump_clock: MockClock) -> None:
    server, events = FakeServer(), list[Event]()
    gone = EOFError("stream ended")

    async def reader() -> None:
        await trio.sleep(20)
        raise gone

    server.on_connect = lambda nursery, link: nursery.start_soon(reader)
    async with running(make_keeper(server, events)) as keeper:
        await trio.sleep(20.05)
        assert keeper.gate.last_error is gone
        await trio.sleep(1)
        assert keeper.gate.link() is server.link
        assert len(server.links) == 2
        assert server.links[0].closed


async def test_cancelling_the_keeper_closes_the_link_and_tells_waiters(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(1)
    assert server.link.closed
    assert isinstance(keeper.gate.state, Stopped)
    with pytest.raises(errors.Unavailable) as refused:
        await keeper.gate.wait_link(trio.current_time() + 10)
    assert refused.value.state == "stopped"
    assert refused.value.retry_after is None
    assert trio.current_time() == 1


async def test_a_link_that_will_not_close_holds_nobody_up(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(10)
        server.link.aclose = trio.sleep_forever  # type: ignore[method-assign] - a link that misbehaves.
        server.link.die()
        await keeper.gate.wait_link(trio.current_time() + 3)


async def test_reconnect_makes_a_new_link(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with running(make_keeper(server)) as keeper:
        await trio.sleep(10)
        keeper.gate.reconnect("credentials were rotated")
        assert await keeper.gate.wait_link(trio.current_time() + 1) is server.links[1]


async def test_a_connection_that_works_or_tries_is_never_stuck_but_one_nobody_runs_is(
    autojump_clock: MockClock,
) -> None:
    server = FakeServer()
    async with running(make_keeper(server)) as keeper:
        for _ in range(400):
            server.up = not server.up
            if server.links:
                server.link.hangs = True
            await trio.sleep(7)
            assert not keeper.gate.is_stuck()
    forgotten = make_keeper(server)
    await trio.sleep(60)
    assert forgotten.gate.is_stuck()
