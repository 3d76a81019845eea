"""Who blocks the loop is named while he blocks it. Here, and only here, tests block for a real moment."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator

import attrs
import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture
from trio.testing import MockClock

from resprout import (
    Actor,
    Event,
    ExitReason,
    LoopBlocked,
    LoopResumed,
    Name,
    Recipe,
    Subscriber,
    System,
    child,
    log_events,
    open_runtime,
    supervisor,
)
from resprout.runtime.watchdog import time_run, usual_blocked_after

THRESHOLD = 0.2  # Seconds; far from what a busy machine does to a loop that is well.


def stand_still(seconds: float = 3 * THRESHOLD) -> None:
    time.sleep(seconds)


def compute(seconds: float = 5 * THRESHOLD) -> None:
    """In a few calls into C, which hold the GIL all the time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(8_000_000))


@attrs.define
class Blocker(Actor):
    """Blocks the loop at one place of its life."""

    place: str = ""
    block: Callable[[], None] = stand_still

    async def on_start(self) -> None:
        if self.place == "on_start":
            self.block()
        if self.place == "background":
            self.context.start_soon(self._beside)

    async def on_stop(self, reason: ExitReason) -> None:
        if self.place == "on_stop":
            self.block()

    async def _beside(self) -> None:
        await trio.lowlevel.checkpoint()
        self.block()

    async def work(self) -> None:
        match self.place:
            case "handler":
                self.block()
            case "nursery":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._beside)


BLOCKER = Name(Blocker, "blocker")


def tree(place: str, block: Callable[[], None] = stand_still) -> Recipe:
    return supervisor("app", child("b", lambda: Blocker(place, block), name=BLOCKER))


def listen(system: System) -> list[Event]:
    heard: list[Event] = []
    wanted: Subscriber = lambda event: (  # noqa: E731 - one line is enough.
        heard.append(event) if isinstance(event, LoopBlocked | LoopResumed) else None
    )
    system.events.subscribe(wanted)
    return heard


@pytest.fixture
def lines() -> Iterator[LogCapture]:
    capture, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(**before)


async def hears(heard: list[Event], count: int) -> None:
    with trio.fail_after(20):
        while len(heard) < count:
            await trio.sleep(0.01)


@pytest.mark.parametrize("block", [stand_still, compute])
@pytest.mark.parametrize("place", ["handler", "nursery", "background", "on_start", "on_stop"])
async def test_the_actor_that_blocks_the_loop_is_named_with_its_message_and_stack(
    place: str, block: Callable[[], None], lines: LogCapture
) -> None:
    system = System()
    heard = listen(system)
    async with system.running(tree(place, block), blocked_after=THRESHOLD):
        BLOCKER.cast(Blocker.work)
        if place != "on_stop":
            await hears(heard, 2)
    await hears(heard, 1)
    blocked = heard[0]
    assert isinstance(blocked, LoopBlocked)
    assert blocked.actor == "app/b"
    assert blocked.message == ("work" if place in ("handler", "nursery") else None)
    assert blocked.after >= THRESHOLD
    assert f"in {block.__name__}" in blocked.stack
    assert "in watch" not in blocked.stack
    if place != "on_stop":
        resumed = heard[1]
        assert isinstance(resumed, LoopResumed)
        assert resumed.actor == "app/b"
        assert resumed.after >= THRESHOLD
    assert len([entry for entry in lines.entries if entry["event"] == "LoopBlocked"]) == 1


async def test_it_is_in_the_log_while_the_loop_still_stands(lines: LogCapture) -> None:
    seen: list[bool] = []

    def until_it_is_told() -> None:
        patience = time.monotonic() + 20
        while not lines.entries and time.monotonic() < patience:
            time.sleep(0.01)
        seen.append(bool(lines.entries))

    async with open_runtime(tree("handler", until_it_is_told), blocked_after=THRESHOLD) as runtime:
        log_events(runtime.events)
        heard = listen(runtime)
        BLOCKER.cast(Blocker.work)
        await hears(heard, 2)
    assert seen == [True]
    told = [entry for entry in lines.entries if entry["event"] == "LoopBlocked"]
    assert len(told) == 1  # The event that follows is not written again.
    assert (told[0]["actor"], told[0]["message"], told[0]["log_level"]) == ("app/b", "work", "error")


async def test_code_that_is_no_actors_is_shown_but_nobody_is_accused() -> None:
    async with open_runtime(tree(""), blocked_after=THRESHOLD) as runtime:
        heard = listen(runtime)
        stand_still()
        await hears(heard, 2)
    assert isinstance(heard[0], LoopBlocked)
    assert (heard[0].actor, heard[0].message) == ("", None)
    assert "in stand_still" in heard[0].stack


async def test_a_long_line_of_short_tasks_is_nobodys_fault() -> None:
    async def short() -> None:
        stand_still(THRESHOLD / 8)

    @attrs.define
    class Crowd(Actor):
        async def on_start(self) -> None:
            for _ in range(40):
                self.context.start_soon(short)

    system = System()
    heard = listen(system)  # Before it starts: the crowd may run before this task does.
    async with system.running(supervisor("app", child("crowd", Crowd)), blocked_after=THRESHOLD):
        await hears(heard, 2)
    assert isinstance(heard[0], LoopBlocked)
    assert (heard[0].actor, heard[0].task) == ("", "")


async def test_an_idle_loop_is_not_blocked() -> None:
    async with open_runtime(tree(""), blocked_after=0.05) as runtime:
        heard = listen(runtime)
        await trio.sleep(0.5)
        assert heard == []


async def test_the_thread_ends_with_the_runtime_and_is_not_there_unless_asked_for() -> None:
    def watchdogs() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "resprout watchdog"]

    async with open_runtime(tree("")):
        assert watchdogs() == []
    async with open_runtime(tree(""), blocked_after=math.inf):
        assert watchdogs() == []
    async with open_runtime(tree(""), blocked_after=60):
        (thread,) = watchdogs()
        assert thread.daemon
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("wrong", [0, -1, math.nan])
async def test_a_time_that_makes_no_sense_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="INFINITY switches it off"):
        async with open_runtime(tree(""), blocked_after=wrong):
            raise AssertionError("it must not start")


async def test_run_watches_by_default_but_not_under_a_clock_of_tests() -> None:
    assert usual_blocked_after() == 1.0


async def test_run_does_not_watch_under_a_clock_of_tests(autojump_clock: MockClock) -> None:
    assert usual_blocked_after() == math.inf


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0.01, 10))
def test_time_in_which_the_process_did_not_run_does_not_count(
    elapsed: float, cpu: float, tick: float
) -> None:
    counted = time_run(elapsed, cpu, tick)
    assert 0 <= counted <= elapsed
    assert counted <= max(2 * tick, cpu)
    assert counted == elapsed or counted >= cpu


def test_a_process_that_was_stopped_accuses_no_actor() -> None:
    script = """
        import structlog, sys, time, trio
        from resprout import *

        class Worker(Actor):
            async def on_start(self): self.context.every(0.01, Worker.work)
            async def work(self): time.sleep(0.005)
        class Teller(Actor):
            async def on_start(self): print("ready", flush=True)

        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        run(supervisor("app", child("w", Worker), child("t", Teller)), blocked_after=0.3)
        """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            for _ in range(3):
                os.kill(running.pid, signal.SIGSTOP)
                time.sleep(0.6)
                os.kill(running.pid, signal.SIGCONT)
                time.sleep(0.2)
            running.send_signal(signal.SIGTERM)
            _, err = running.communicate(timeout=20)
        finally:
            running.kill()
    assert running.returncode == 0
    assert "TreeEnded" in err
    assert "LoopBlocked" not in err
