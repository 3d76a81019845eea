"""Waits and blows of the test kit: each ends in time, and tells what it saw."""

import pytest
import trio
from trio.testing import MockClock

from resprout import (
    TEMPORARY,
    Actor,
    ActorExited,
    ActorStarted,
    Crashed,
    ExitReason,
    Killed,
    Life,
    Name,
    Ref,
    System,
    child,
    supervisor,
    testing,
)


class Door(Actor):
    """Opens."""

    is_open = False

    async def open(self, after: float) -> None:
        await trio.sleep(after)
        self.is_open = True

    async def state(self) -> bool:
        return self.is_open

    async def slam(self) -> None:
        raise ValueError("slammed")


DOOR = Name(Door, "door")
TREE = supervisor("app", child("door", Door, name=DOOR), child("guard", Door, restart=TEMPORARY))


class Stubborn(Door):
    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep(4)


async def test_a_condition_is_waited_for_on_virtual_time(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE):
        DOOR.cast(Door.open, 3.0)
        assert await testing.wait_until(lambda: DOOR.call(Door.state)) is True
        assert trio.current_time() == pytest.approx(3.0, abs=0.05)


async def test_a_wait_in_vain_shows_the_condition_the_tree_and_what_happened(
    autojump_clock: MockClock,
) -> None:
    async with testing.runtime(TREE):
        await testing.crash(DOOR, ValueError("slammed"))
        with pytest.raises(testing.WaitedInVain) as caught:
            await testing.wait_until(lambda: False, within=2.0, what="the impossible")
    for told in (
        "the impossible did not happen within 2 s",
        "door: Door, running, 1 restarts",
        "ActorExited",
    ):
        assert told in str(caught.value)
    assert "crashed: ValueError: slammed" in str(caught.value)


async def test_a_wait_outside_of_the_kits_runtime_still_ends(autojump_clock: MockClock) -> None:
    with pytest.raises(testing.WaitedInVain, match=r"open the tree with resprout\.testing\.runtime"):
        await testing.wait_until(lambda: None, within=1.0)


async def test_an_error_of_the_condition_comes_out(autojump_clock: MockClock) -> None:
    with pytest.raises(ZeroDivisionError):
        await testing.wait_until(lambda: 1 / 0)


async def test_a_wait_of_no_time_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="more than 0 seconds, not -1"):
        await testing.wait_until(lambda: True, within=-1)


async def test_a_crash_is_over_when_it_returns_and_its_restart_can_be_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with testing.runtime(TREE) as rt:
        first = DOOR.instance
        await testing.crash(DOOR, OSError("the wind"))
        await testing.wait_for_restart(DOOR)
        assert DOOR.instance not in (None, first)
        (reason,) = events_of(rt).exits("app/door")
    assert isinstance(reason, Crashed)
    assert str(reason.error) == "the wind"


async def test_a_restart_that_is_over_already_is_not_missed(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE):
        await testing.kill(DOOR)
        await trio.sleep(5)
        await testing.wait_for_restart(DOOR, within=0.1)


async def test_each_restart_is_waited_for_once(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE):
        await testing.kill(DOOR)
        await testing.wait_for_restart(DOOR)
        with pytest.raises(testing.WaitedInVain, match="a restart of app/door"):
            await testing.wait_for_restart(DOOR)


async def test_whoever_handles_a_message_is_struck_in_the_middle_of_it(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE) as rt:
        DOOR.cast(Door.open, 60.0)
        await trio.testing.wait_all_tasks_blocked()
        await testing.crash(DOOR)
        assert trio.current_time() < 1
        (exited,) = events_of(rt).of(ActorExited, "app/door")
    assert exited.message == "open"


async def test_a_kill_leaves_out_the_stop_hook_and_a_crash_does_not(autojump_clock: MockClock) -> None:
    async with testing.runtime(supervisor("app", child("a", Stubborn), child("b", Stubborn))) as rt:
        await testing.kill(rt.ref("app/a"))
        assert trio.current_time() < 1
        await testing.crash(rt.ref("app/b"))
        assert trio.current_time() >= 4
        assert isinstance(events_of(rt).exits("app/a")[0], Killed)


async def test_nobody_can_be_struck_where_nobody_is(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE) as rt:
        guard = rt.ref("app/guard")
        await testing.crash(guard)
        await testing.wait_for_life(guard, Life.STOPPED)
        with pytest.raises(RuntimeError, match="app/guard is stopped: nobody is there to end"):
            await testing.kill(guard)


async def test_a_temporary_actor_is_not_waited_for_in_vain_for_ever(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE) as rt:
        guard: Ref[Actor] = rt.ref("app/guard")
        await testing.crash(guard)
        with pytest.raises(testing.WaitedInVain, match="a restart of app/guard did not happen within 10 s"):
            await testing.wait_for_restart(guard)


async def test_an_event_of_the_block_is_found(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE) as rt:
        async with testing.expect_event(rt, ActorExited, "app/door") as expected:
            with pytest.raises(LookupError):
                _ = expected.event
            DOOR.cast(Door.slam)
        assert expected.event.message == "slam"


async def test_an_event_that_does_not_come_fails_the_test(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE) as rt:
        with pytest.raises(testing.WaitedInVain, match="ActorStarted of app/door"):
            async with testing.expect_event(
                rt, ActorStarted, "app/door", where=lambda event: event.generation == 3
            ):
                await testing.crash(DOOR)


async def test_an_error_of_the_block_is_not_hidden_by_the_missing_event(autojump_clock: MockClock) -> None:
    async with testing.runtime(TREE) as rt:
        with pytest.raises(KeyError):
            async with testing.expect_event(rt, ActorExited):
                raise KeyError


async def test_the_real_clock_is_refused_unless_it_is_meant() -> None:
    with pytest.raises(RuntimeError, match="autojump_clock"):
        async with testing.runtime(TREE):
            pass
    async with testing.runtime(TREE, real_time=True) as rt:
        assert rt.ref("app/door").path == "app/door"


def test_a_test_without_pytest_trio_runs_on_virtual_time() -> None:
    async def main(hours: float) -> float:
        async with testing.runtime(TREE):
            await trio.sleep(hours * 3600)
        return trio.current_time()

    assert testing.run(main, 2.0) == pytest.approx(7200.0)


def test_the_kit_needs_no_pytest() -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['pytest'] = sys.modules['pytest_trio'] = None; import resprout.testing"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def events_of(rt: System) -> testing.EventRecorder:
    recorder = testing.recorder_of(rt)
    assert recorder is not None
    return recorder
