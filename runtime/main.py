"""`run`: a supervision tree as the main entrypoint of a process."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog
import trio

from resprout.runtime.errors import StartFailed, TreeError
from resprout.runtime.lastresort import FORCED, FORCING, GAVE_UP, last_resort
from resprout.runtime.logs import log_events, log_to_stderr
from resprout.runtime.nurseries import bare_nursery
from resprout.runtime.system import System
from resprout.runtime.watchdog import usual_blocked_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from resprout.runtime.recipe import Recipe

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("resprout")

DRAINED: Final = 0
BAD_CONFIGURATION: Final = 78

Guard: TypeAlias = "Callable[[System, Callable[[], None]], AbstractContextManager[None]]"


def run(tree: Recipe, *, blocked_after: float | None = None) -> None:
    """Run *tree* until it ends or the process is told to stop; the main entrypoint.

    SIGINT (Ctrl-C), SIGTERM and, unless it is ignored or handled by others, SIGHUP stop the tree in reverse
    start order within its shutdown times. The second SIGINT or SIGTERM cancels everything at once. Returns if
    the tree was drained.

    If something shields itself from that or keeps the loop from turning, the process is ended hard, with a last
    line on standard error that names who was alive and where: four seconds after the second signal; and in any
    stop once the shutdown times of all that runs are over and after that no actor has ended for ten seconds.

    Args:
        tree: A supervisor or a single child.
        blocked_after: Seconds for which one actor may keep all others from running before it is named
            (`LoopBlocked`): 1 unless given; `INFINITY` switches this off.

    Raises:
        SystemExit: 1 if the tree did not start or gave up, 78 if it is described wrongly, 130 if the stop was
            forced; or the code an actor asked for.
        KeyboardInterrupt: One came up inside an actor; the tree was stopped in order first.
    """
    log_to_stderr()
    code = trio.run(partial(_serve, tree, blocked_after, last_resort))
    if code != DRAINED:
        raise SystemExit(code)


async def serve(tree: Recipe, *, blocked_after: float | None = None) -> int:
    """As `run`, inside a trio program of your own; returns the exit code, and never ends the process hard.

    Under a test's clock nothing watches for a blocked loop, unless *blocked_after* is given.
    """
    return await _serve(tree, blocked_after, _no_last_resort)


async def _serve(tree: Recipe, blocked_after: float | None, guard: Guard) -> int:
    blocked_after = usual_blocked_after() if blocked_after is None else blocked_after
    system = System()
    log_events(system.events)
    orders = _Orders(system)
    with trio.open_signal_receiver(*orders.signals()) as signals, guard(system, orders.force):
        async with bare_nursery() as nursery:
            nursery.start_soon(orders.obey, signals)
            try:
                code = await _run(system, tree, blocked_after, orders)
            except TreeError as error:
                print(f"resprout: bad configuration: {error}", file=sys.stderr)  # noqa: T201 - for a person.
                return BAD_CONFIGURATION
            except StartFailed as error:
                print(f"resprout: the tree did not start: {error}", file=sys.stderr)  # noqa: T201 - the same.
                return GAVE_UP
            code = FORCED if orders.forced else code
            how = "gave up: see the errors above" if code == GAVE_UP else "stopped"
            level = logging.ERROR if code == GAVE_UP else logging.INFO
            _log(level, "TreeEnded", tree=tree.id, how=how, exit_code=code)
            return code


async def _run(system: System, tree: Recipe, blocked_after: float, orders: _Orders) -> int:
    """Run *tree* until it ends or is stopped by *orders*."""
    with orders.stop:
        async with system.running(tree, blocked_after=blocked_after):
            _log(logging.INFO, "TreeRuns", tree=tree.id, pid=os.getpid())
            await system.wait()
            return GAVE_UP if system.gave_up else DRAINED
    return DRAINED


class _Orders:
    """What signals ask for."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._asked = 0
        self.stop = trio.CancelScope()
        self.forced = False

    @staticmethod
    def signals() -> tuple[signal.Signals, ...]:
        """Those to listen to: SIGHUP if nobody else has an opinion on it, such as `nohup`."""
        hangup = (signal.SIGHUP,) if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL else ()
        return (*FORCING, *hangup)

    async def obey(self, signals: AsyncIterator[int]) -> None:
        """The first signal asks, the second that may does not."""
        async for number in signals:
            self._asked += number in FORCING
            if self._asked > 1:
                self.force()
            elif not self.stop.cancel_called:
                name = signal.Signals(number).name
                _log(
                    logging.INFO,
                    "Stopping",
                    signal=name,
                    hint="in order; a second Ctrl-C or SIGTERM forces it",
                )
                self.stop.cancel(reason=name)

    def force(self) -> None:
        """Cancel everything at once."""
        if not self.forced:
            self.forced = True
            _log(logging.WARNING, "StopForced")
            self.stop.cancel(reason="forced")
            self._system.abort()


@contextmanager
def _no_last_resort(system: System, force: Callable[[], None]) -> Iterator[None]:
    """The process belongs to somebody else."""
    yield


def _log(level: int, what: str, **facts: object) -> None:
    """Write a line. Nobody may be left to read it: the terminal that sends SIGHUP is gone."""
    with suppress(OSError, ValueError):
        log.log(level, what, **facts)
