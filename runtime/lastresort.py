"""A thread that ends the process when its tree cannot: the loop may stand still, or an actor refuse to end.

It hears signals even while the loop's thread is held up in code that no signal interrupts, because Python's own
handler in C writes their numbers to a socket (`signal.set_wakeup_fd`) that is read here and passed on to trio.
Only code that never lets go of the GIL is out of its reach.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from resprout.runtime.onloop import at_work, cells_below, frames_in, running_task
from resprout.runtime.owner import is_failure
from resprout.runtime.stack import innermost
from resprout.runtime.stopping import straggler_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resprout.runtime.exits import ExitReason
    from resprout.runtime.system import System

FORCING: Final = (signal.SIGINT, signal.SIGTERM)
"""The second of these forces the stop. SIGHUP only asks: systemd and shells send it along with others."""

GAVE_UP: Final = 1
FORCED: Final = 130
FORCED_WITHIN: Final = 4.0
"""Seconds from the second signal until the process ends, whatever still runs."""

ALLOWANCE: Final = 10.0
"""Seconds without the end of any actor, once the shutdown budget is over, after which the process ends."""

NAMED: Final = 20
LONGEST: Final = 4_000  # Bytes of the last line: a pipe that can be written at all takes as many at once.


def code_after(reason: ExitReason | None, fatal: BaseException | None) -> int:
    """The exit code of a process that had to be ended: the one it had, or 130 for what would have been 0.

    >>> from resprout.runtime.exits import Normal, Shutdown
    >>> from resprout.runtime.owner import OUT_OF_RESTARTS
    >>> code_after(OUT_OF_RESTARTS, None), code_after(Shutdown("the runtime stops"), None), code_after(Normal(), None)
    (1, 130, 130)
    >>> code_after(Shutdown(), SystemExit(3)), code_after(Shutdown(), SystemExit("no licence"))
    (3, 1)
    >>> code_after(Shutdown(), KeyboardInterrupt())
    130
    """
    if isinstance(fatal, SystemExit):
        return (fatal.code or FORCED) if isinstance(fatal.code, int | None) else GAVE_UP
    if isinstance(fatal, KeyboardInterrupt) or reason is None or not is_failure(reason):
        return FORCED
    return GAVE_UP


@contextmanager
def last_resort(system: System, force: Callable[[], None]) -> Iterator[None]:
    """End the process hard if *system* does not end in time; *force* is called in the loop at a second signal."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    trios = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    guard = LastResort(system, ours, trios, force)
    thread = threading.Thread(target=guard.watch, name="resprout last resort", daemon=True)

    def stop_begins(seconds: float) -> None:
        guard.budget = seconds
        with suppress(BlockingIOError):
            theirs.send(b"\0")  # No signal's number: it only wakes the thread.

    system.stopping.when_it_begins = stop_begins
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(trios, warn_on_full_buffer=False)
        theirs.close()
        thread.join()  # It ends at once; from here on nobody writes to trio's socket but Python.


class LastResort:
    """Made in the loop's own thread; `watch` runs in another one."""

    def __init__(self, system: System, signals: socket.socket, trios: int, force: Callable[[], None]) -> None:
        self._system, self._signals, self._trios, self._force = system, signals, trios, force
        self._token = trio.lowlevel.current_trio_token()
        self._clock = trio.lowlevel.current_clock()
        self._loop_thread = threading.get_ident()
        self.budget = math.inf  # Seconds that the stop may take; set when it begins.
        self._asked = 0
        self._forced = False
        self._due = math.inf  # When to look, on the monotonic clock.
        self._alive = math.inf  # How many actors there were at the last look.

    def watch(self) -> None:
        """Count signals and keep the time, until the other end of the socket is closed."""
        with self._signals:
            while True:
                left = self._due - time.monotonic()
                self._signals.settimeout(None if left == math.inf else max(left, 0.001))
                try:
                    numbers = self._signals.recv(1_000)
                except TimeoutError:
                    self._look()
                    continue
                if not numbers:
                    return
                self._hear(numbers)

    def _hear(self, numbers: bytes) -> None:
        if self.budget < math.inf and self._due == math.inf:
            self._due = time.monotonic() + self.budget
        numbers = numbers.replace(b"\0", b"")
        if numbers and self._trios >= 0:
            with suppress(OSError):
                os.write(self._trios, numbers)
        self._asked += sum(number in FORCING for number in numbers)
        if self._asked >= 2 and not self._forced:
            self._forced, self._due = True, time.monotonic() + FORCED_WITHIN
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._force)

    def _look(self) -> None:
        """The time is over. Unless it was forced, it goes on for as long as actors end."""
        alive = self._count_alive()
        if not self._forced and alive < self._alive:
            self._alive, self._due = alive, time.monotonic() + ALLOWANCE
            return
        if self._forced:
            why, code = "a second signal came", FORCED
        else:
            why, code = (
                "the stop took longer than it may",
                code_after(self._system.stopping.reason, self._system.fatal_error),
            )
        told = f"resprout: ended by force with exit code {code}, because {why}; still alive: {self._who()}"
        _say(told)
        os._exit(code)

    def _count_alive(self) -> int:
        root = self._system.root
        while root is not None:
            with suppress(RuntimeError):  # The tree changed meanwhile.
                return sum(cell.alive for cell in cells_below(root))
        return 0

    def _who(self) -> str:
        """Who still runs, and where: first of all whoever keeps the loop from turning."""
        named: list[str] = []
        # The tree may change while it is looked at, and whatever happens here must not keep the process alive.
        with suppress(Exception):
            named += self._at_work()
        with suppress(Exception):
            now = self._clock.current_time()
            root = self._system.root
            for cell in cells_below(root) if root is not None else ():
                straggler = straggler_at(cell, now) if cell.alive else None
                if straggler is not None:
                    named.append(
                        f"{straggler.actor} at {straggler.place}, told to stop {straggler.seconds:.0f} s ago"
                    )
        more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
        return "; ".join(named[:NAMED]) + more if named else "no actor"

    def _at_work(self) -> list[str]:
        frames = frames_in(self._loop_thread)
        task = running_task(self._system, frames)
        actor, _ = at_work(self._system, task)
        if not actor:
            return []
        place = innermost(
            traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
            for frame in frames
        )
        return [f"{actor} keeps the loop from turning at {place}"]


def _say(line: str) -> None:
    """Write *line* to standard error, unless that would wait for a reader."""
    with suppress(OSError, ValueError):
        output = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
        if select.select([], [output], [], 0.5)[1]:
            os.write(output, line.encode("utf-8", "replace")[:LONGEST] + b"\n")
