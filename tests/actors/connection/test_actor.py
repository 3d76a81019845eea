from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import ActorExited, Crashed, Event, Name, child, open_runtime, supervisor
from resprout.actors.connection.actor import Connection, ConnectionStuckError
from resprout.actors.connection.gate import Gate
from resprout.actors.connection.states import BackingOff, Draining, Ready, Stopped, start
from resprout.runtime import Recipe, errors
from tests.actors.connection.fake_server import FakeLink, FakeServer


@attrs.define
class FakeConnection(Connection):
    """A connection to a `FakeServer`."""

    server: FakeServer

    async def on_start(self) -> None:
        self.keep("fake", self.server.connect)

    async def freeze(self) -> None:
        """What a bug in the keeper would do: leave a state whose moment has passed."""
        gate = self._gate
        assert isinstance(gate, Gate)
        gate.state = start(trio.current_time() - 1000, gate.policy)


FAKE = Name(FakeConnection, "fake")


def tree_with(server: FakeServer, shutdown: float = 5.0) -> Recipe:
    return supervisor("app", child("fake", partial(FakeConnection, server), name=FAKE, shutdown=shutdown))


def present_gate() -> Gate[FakeLink]:
    gate = FAKE.offered(Gate)
    assert gate is not None
    return gate


async def test_a_tree_starts_without_waiting_for_the_remote(autojump_clock: MockClock) -> None:
    server = FakeServer(up=False)
    async with open_runtime(tree_with(server), seed=7):
        assert trio.current_time() == 0
        with pytest.raises(errors.Unavailable):
            present_gate().link()
        status = await FAKE.call(FakeConnection.status)
        assert status.service == "fake"


async def test_an_hour_of_outage_costs_no_restart_and_the_first_chance_is_taken(
    autojump_clock: MockClock,
) -> None:
    server, events = FakeServer(up=False), list[Event]()
    async with open_runtime(tree_with(server), seed=7) as runtime:
        runtime.events.subscribe(events.append)
        await trio.sleep(3600)
        status = await FAKE.call(FakeConnection.status)
        assert isinstance(status.state, BackingOff)
        assert status.last_error == "ConnectionRefusedError: refused"
        server.up = True
        await trio.sleep(30)
        assert present_gate().link() is server.link
        assert runtime.snapshot().children[0].restarts == 0
        assert not [event for event in events if isinstance(event, ActorExited)]


async def test_a_programming_error_crashes_the_actor_and_the_restarted_one_connects(
    autojump_clock: MockClock,
) -> None:
    server, events = FakeServer(), list[Event]()
    server.up, server.error = False, TypeError("a bug")
    async with open_runtime(tree_with(server), seed=7) as runtime:
        runtime.events.subscribe(events.append)
        await trio.sleep(0.05)
        server.up = True
        await trio.sleep(1)
        assert present_gate().link() is server.link
    reasons = [event.reason for event in events if isinstance(event, ActorExited)]
    assert isinstance(reasons[0], Crashed)
    assert isinstance(reasons[0].error, TypeError)


async def test_operators_can_nudge_reconnect_and_drain(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with open_runtime(tree_with(server), seed=7):
        await trio.sleep(10)
        await FAKE.call(FakeConnection.reconnect, "credentials changed")
        await trio.sleep(1)
        assert len(server.links) == 2
        assert server.links[0].closed
        server.up = False
        server.link.die()
        await trio.sleep(200)
        server.up = True
        await FAKE.call(FakeConnection.nudge)
        await trio.sleep(1.1)
        assert isinstance((await FAKE.call(FakeConnection.status)).state, Ready)
        await FAKE.call(FakeConnection.drain)
        assert isinstance((await FAKE.call(FakeConnection.status)).state, Draining)
        await trio.sleep(10.1)
        status = await FAKE.call(FakeConnection.status)
        assert isinstance(status.state, Stopped)
        assert status.retry_after is None


async def test_a_connection_that_stands_still_is_restarted(autojump_clock: MockClock) -> None:
    server, events = FakeServer(), list[Event]()
    async with open_runtime(tree_with(server), seed=7) as runtime:
        runtime.events.subscribe(events.append)
        await trio.sleep(10)
        await FAKE.call(FakeConnection.freeze)
        await trio.sleep(60)
        assert present_gate().link() is server.links[1]
    reasons = [event.reason for event in events if isinstance(event, ActorExited)]
    assert isinstance(reasons[0], Crashed)
    assert isinstance(reasons[0].error, ConnectionStuckError)


async def test_a_machine_that_slept_does_not_make_a_connection_look_stuck(autojump_clock: MockClock) -> None:
    events = list[Event]()
    for seed in range(20):  # Who runs first after the sleep is a coin toss.
        async with open_runtime(tree_with(FakeServer()), seed=seed) as runtime:
            runtime.events.subscribe(events.append)
            await trio.sleep(10)
            for _ in range(5):
                autojump_clock.jump(120)
                await trio.sleep(40)
    assert [event for event in events if isinstance(event, ActorExited) and not event.expected] == []


class BusyLink(FakeLink):
    """A link with one call in flight that takes two seconds."""

    async def wait_idle(self) -> None:
        await trio.sleep(2)


@pytest.mark.parametrize("kind", [FakeLink, BusyLink])
async def test_an_orderly_stop_waits_only_for_calls_in_flight_and_closes_the_link(
    autojump_clock: MockClock, kind: type[FakeLink]
) -> None:
    server = FakeServer(make_link=kind)
    async with open_runtime(tree_with(server), seed=7):
        await trio.sleep(10)
        gate = present_gate()
    assert trio.current_time() == pytest.approx(12 if kind is BusyLink else 10)
    assert server.link.closed
    assert isinstance(gate.state, Stopped)


async def test_the_tree_shows_the_state_of_the_connection(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with open_runtime(tree_with(server), seed=7) as runtime:
        await trio.sleep(1)
        assert runtime.snapshot().children[0].facts == {"service": "fake", "state": "ready"}
        server.up = False
        server.link.die()
        await wait_all_tasks_blocked()
        facts = runtime.snapshot().children[0].facts
        assert facts["state"] == "backing_off"
        assert facts["attempt"] == 1
        assert facts["last_error"] == "ConnectionResetError: peer reset"


async def test_a_check_from_outside_uses_the_real_link_and_counts_as_a_probe(
    autojump_clock: MockClock,
) -> None:
    server = FakeServer()
    async with open_runtime(tree_with(server), seed=7):
        await trio.sleep(1)
        gate = present_gate()
        await gate.check()
        assert len(server.link.probes) == 2
        assert gate.trouble() == ""
        server.link.answers = False
        with pytest.raises(errors.Unavailable, match="the probe failed"):
            await gate.check()
        await trio.sleep(1)  # The keeper has probed again at once, missed again, and made a new link.
        assert gate.link() is server.links[1]
