"""A thread that notices when the trio loop stands still, and names the actor whose code it stands in.

The thread asks the loop for a sign of life, four times in the time after which it calls it blocked, and looks
closer only if none comes. Messages, actors and tasks cost nothing for it: which task is on the stack of the
loop's thread is found out afterwards, by comparing frames.

What it finds it writes to the log itself, at once: the loop that would hand an event to subscribers is the one
that stands. The events follow as soon as the loop turns again.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio

from resprout.runtime.events import Event
from resprout.runtime.onloop import at_work, frame_of, frames_in, running_task
from resprout.runtime.thinning import Thinning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from trio.lowlevel import Task

    from resprout.runtime.system import System

BLOCKED_AFTER: Final = 1.0
"""Seconds without a sign of life, after which `run` calls the loop blocked."""

SHORTEST: Final = 0.01


@attrs.frozen(kw_only=True)
class LoopBlocked(Event):
    """Code of *actor* has kept every other one from running for *after* seconds, and still did.

    Attributes:
        actor: Empty if it was no actor's code, or that of many in turn.
        message: The message in work, by name; None in a hook or background task.
        task: The name of the trio task that was running.
        stack: Where its code stood, innermost last; without the values of variables.
    """

    level = "error"

    message: str | None
    task: str
    after: float
    stack: str


@attrs.frozen(kw_only=True)
class LoopResumed(Event):
    """The loop turns again, *after* seconds since it stood still; *actor* is the one that was named."""

    after: float


@contextmanager
def watching(system: System, blocked_after: float | None) -> Iterator[None]:
    """Watch the loop that runs this for as long as the block lasts; None and infinity watch nothing.

    Raises:
        ValueError: *blocked_after* is no number of seconds of 0.01 or more.
    """
    if blocked_after is None or blocked_after == math.inf:
        yield
        return
    if not blocked_after >= SHORTEST:
        raise ValueError(
            f"blocked_after must be seconds >= {SHORTEST}, not {blocked_after!r}; INFINITY switches it off"
        )
    watchdog = Watchdog(system, blocked_after)
    # A daemon: however the process ends, it must not wait for this thread.
    threading.Thread(target=watchdog.watch, name="resprout watchdog", daemon=True).start()
    try:
        yield
    finally:
        watchdog.stop()


def usual_blocked_after() -> float:
    """What `run` watches with unless told otherwise: nothing under a test's clock, where time is no measure."""
    clock = trio.lowlevel.current_clock()
    ticks_as_the_world_does = clock.deadline_to_sleep_time(clock.current_time() + 1.0) <= 1.0
    return BLOCKED_AFTER if ticks_as_the_world_does else math.inf


def time_run(elapsed: float, cpu: float, tick: float) -> float:
    """For how much of *elapsed* seconds, in which this thread meant to sleep *tick*, the process was running.

    A process that was stopped, or a machine that was suspended, wakes late and has used no *cpu* time, and no
    actor is to blame. One whose thread was kept out by code that holds the GIL wakes late too, and has.

    >>> time_run(elapsed=0.26, cpu=0.0, tick=0.25), time_run(60.0, 0.01, 0.25), time_run(3.0, 2.9, 0.25)
    (0.26, 0.5, 2.9)
    """
    return min(elapsed, max(2 * tick, cpu))


class Watchdog:
    """Made in the loop's own thread; `watch` runs in another one."""

    def __init__(self, system: System, blocked_after: float) -> None:
        self._system, self._blocked_after = system, blocked_after
        self._tick = blocked_after / 4
        self._token = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        self._over = threading.Event()
        self._answered = threading.Event()
        self._answered_at = 0.0
        self._last = (0.0, 0.0)  # Time and CPU time of the last lap.
        self._thinning = Thinning()

    def stop(self) -> None:
        """End the thread. Returns at once."""
        self._over.set()
        self._answered.set()

    def watch(self) -> None:
        """Ask for signs of life until stopped, or until the loop has ended."""
        with suppress(trio.RunFinishedError):
            self._lap()
            while not self._over.wait(self._tick):
                overslept = max(0.0, self._lap() - 2 * self._tick)
                began = time.monotonic() - overslept
                # Code that holds the GIL kept this thread from asking. It has let go just now, and stands there.
                report = self._report(_Suspect(None), overslept) if overslept >= self._blocked_after else None
                self._answered.clear()
                self._token.run_sync_soon(self._answer)
                report = self._await_answer(overslept, report)
                if report is not None and not self._over.is_set():
                    self._emit(LoopResumed(actor=report.actor, after=self._answered_at - began))

    def _answer(self) -> None:
        self._answered_at = time.monotonic()
        self._answered.set()

    def _await_answer(self, waited: float, report: LoopBlocked | None) -> LoopBlocked | None:
        """Wait until the loop answers, after *waited* seconds without; returns the report, at most one."""
        suspect = _Suspect(None)
        while not self._answered.wait(self._tick):
            waited += self._lap()
            if report is not None:
                continue
            if waited >= self._blocked_after:
                report = self._report(suspect, waited)
            elif not suspect.seen and waited >= self._blocked_after / 2:
                suspect = _Suspect(running_task(self._system, frames_in(self._loop_thread)), seen=True)
        self._lap()
        return report

    def _lap(self) -> float:
        """For how much of the time since the last lap the process was running."""
        (before, cpu_before), self._last = self._last, (time.monotonic(), time.process_time())
        return time_run(self._last[0] - before, self._last[1] - cpu_before, self._tick)

    def _report(self, suspect: _Suspect, waited: float) -> LoopBlocked:
        """Say who blocks the loop: only one that was there before, for others are but the next in a long line."""
        frames = frames_in(self._loop_thread)
        task = running_task(self._system, frames)
        lasting = task if task is suspect.task or not suspect.seen else None
        actor, message = at_work(self._system, lasting)
        report = LoopBlocked(
            actor=actor,
            message=message,
            task=lasting.name if lasting is not None else "",
            after=waited,
            stack=_stack(frames, task),
        )
        self._write(report)
        self._emit(report)
        return report

    def _emit(self, event: Event) -> None:
        self._token.run_sync_soon(self._system.events.emit, event)

    def _write(self, report: LoopBlocked) -> None:
        key = (report.actor, report.task, str(report.message))
        held = self._thinning.admit(key, time.monotonic())
        if held is None:
            return
        facts = {"actor": report.actor or None, "task": report.task, "message": report.message}
        told = {name: value for name, value in facts.items() if value is not None}
        # Whatever a logger raises must not end the watch.
        with suppress(Exception):
            structlog.get_logger("resprout").error(
                "LoopBlocked",
                **told,
                after=round(report.after, 3),
                **({"repeated": held} if held else {}),
                stack=report.stack.rstrip(),
            )


@attrs.frozen
class _Suspect:
    """The task that ran when half of the time was over."""

    task: Task | None
    seen: bool = False


def _stack(frames: list[FrameType], task: Task | None) -> str:
    """*frames* from where *task* begins, or all of them; without the values of variables."""
    start = frames.index(frame) if task is not None and (frame := frame_of(task)) in frames else 0
    return "".join(
        traceback.format_list(
            traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
            for frame in frames[start:]
        )
    )
