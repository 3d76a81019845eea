"""Random faults against a keeper, on virtual time: whatever happens, it heals once the faults stop."""

import random
from contextlib import suppress

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from resprout.actors.connection.events import ConnectionChanged
from resprout.actors.connection.keeper import Keeper
from resprout.actors.connection.policy import KeeperPolicy
from resprout.actors.connection.states import ConnectionState, Stopped, moves_by
from resprout.runtime import errors
from resprout.runtime.breaker_rules import Force
from resprout.runtime.events import Event
from tests.actors.connection.fake_server import FakeLink, FakeServer

FAULTS = (
    "up",
    "down",
    "hang connect",
    "bad probes",
    "link dies",
    "link hangs",
    "link answers wrong",
    "client sees loss",
    "late news",
    "nudge",
    "impaired",
    "reply",
    "reconnect",
    "check",
    "rotate",
    "calls fail",
    "operator opens",
    "operator closes",
)
schedules = st.lists(
    st.tuples(st.sampled_from(FAULTS), st.sampled_from([0.0, 0.01, 0.3, 5.0, 40.0])), max_size=40
)


class Fault:
    """Inflicts faults on a keeper and its server."""

    def __init__(self, server: FakeServer, keeper: Keeper[FakeLink]) -> None:
        self.server, self.keeper = server, keeper

    async def inflict(self, what: str) -> None:
        server, gate = self.server, self.keeper.gate
        link = server.links[-1] if server.links else FakeLink()
        match what:
            case "up":
                server.up, server.hangs, server.bad_probes = True, False, False
            case "down":
                server.up = False
            case "hang connect":
                server.hangs = True
            case "bad probes":
                server.bad_probes = True
            case "link dies":
                link.die()
            case "link hangs":
                link.hangs = True
            case "link answers wrong":
                link.answers = False
            case "client sees loss":
                gate.lost(link, EOFError("closed"))
            case "late news":
                gate.lost(server.links[0] if server.links else link, EOFError("old"))
            case "nudge":
                gate.nudge()
            case "impaired":
                gate.impaired(link, "read only")
            case "reply":
                gate.succeeded()
            case "reconnect":
                gate.reconnect("asked")
            case "rotate":
                gate.rotate("asked")
            case "calls fail":
                for _ in range(5):
                    gate.failed(TimeoutError("no answer"))
            case "operator opens":
                gate.fuse.breaker.force(Force.OPEN, by="ann", reason="test", seconds=30)
            case "operator closes":
                gate.fuse.breaker.force(Force.CLOSED, by="ann", reason="test", seconds=30)
            case "check":
                with suppress(errors.ServiceError):
                    await gate.check()


async def live_through(schedule: list[tuple[str, float]], seed: int) -> None:
    server, events = FakeServer(), list[Event]()

    def check(event: Event) -> None:
        """On every transition: an attempt runs or a timer is armed, unless it was asked to stop."""
        events.append(event)
        if isinstance(event, ConnectionChanged) and not isinstance(event.new, Stopped):
            assert keeper.gate.state == event.new
            now = trio.current_time()
            assert now < moves_by(event.new, keeper.gate.policy) < now + 45
            assert not keeper.gate.is_stuck()

    keeper: Keeper[FakeLink] = Keeper(
        "fake",
        server.connect,
        emit=check,
        actor="app/fake",
        random=random.Random(seed),
        policy=KeeperPolicy(),
    )
    fault = Fault(server, keeper)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        for what, wait in schedule:
            await fault.inflict(what)
            assert not keeper.gate.is_stuck()
            # The live one, one that drains after a rotation, and one being closed.
            assert sum(not link.closed for link in server.links) <= 3
            assert server.connecting <= 1
            await trio.sleep(wait)
        await fault.inflict("up")
        for link in server.links:
            link.hangs, link.answers = False, True
        breaker = 0.0 if keeper.gate.fuse.passes else 120.0  # However often it had opened.
        link = await keeper.gate.wait_link(trio.current_time() + 45 + breaker)
        assert not link.closed
        await trio.sleep(130)  # No rotation is left undone, no old link left open.
        assert keeper.gate.rotation is None
        assert [link for link in server.links if not link.closed] == [keeper.gate.held]
        nursery.cancel_scope.cancel()
    assert all(link.closed for link in server.links)
    assert isinstance(keeper.gate.state, Stopped)
    assert_an_unbroken_chain([event for event in events if isinstance(event, ConnectionChanged)])


def assert_an_unbroken_chain(changes: list[ConnectionChanged]) -> None:
    """Each change starts in the kind of state in which the one before ended: no transition is silent."""
    kind: type[ConnectionState] = type(changes[0].old)
    for change in changes:
        assert type(change.old) is kind
        kind = type(change.new)


@settings(max_examples=200, deadline=None)
@given(schedules, st.integers(0, 2**32))
def test_whatever_the_faults_a_keeper_heals_within_45_seconds_of_their_end(
    schedule: list[tuple[str, float]], seed: int
) -> None:
    trio.run(live_through, schedule, seed, clock=MockClock(autojump_threshold=0))
