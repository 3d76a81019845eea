"""`run`: a supervision tree as the main entrypoint of a process."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
import trio

from resprout.runtime.errors import StartFailed, TreeError
from resprout.runtime.logs import log_events, log_to_stderr
from resprout.runtime.nurseries import bare_nursery
from resprout.runtime.system import System
from resprout.runtime.watchdog import usual_blocked_after

if TYPE_CHECKING:
    from resprout.runtime.recipe import Recipe

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("resprout")

DRAINED: Final = 0
GAVE_UP: Final = 1
BAD_CONFIGURATION: Final = 78
FORCED: Final = 130


def run(tree: Recipe, *, blocked_after: float | None = None) -> None:
    """Run *tree* until it ends or the process is told to stop; the main entrypoint.

    SIGINT (Ctrl-C) and SIGTERM stop the tree in reverse start order within its shutdown times; a second one
    cancels everything at once. Returns if the tree was drained.

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
    code = trio.run(partial(serve, tree, blocked_after=blocked_after))
    if code != DRAINED:
        raise SystemExit(code)


async def serve(tree: Recipe, *, blocked_after: float | None = None) -> int:
    """As `run`, inside a trio program of your own; returns the exit code.

    Under a test's clock nothing watches for a blocked loop, unless *blocked_after* is given.
    """
    blocked_after = usual_blocked_after() if blocked_after is None else blocked_after
    system = System()
    log_events(system.events)
    stop = trio.CancelScope()
    code = DRAINED
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with bare_nursery() as nursery:
            forced = trio.Event()
            nursery.start_soon(_obey, signals, stop, system, forced)
            try:
                with stop:
                    async with system.running(tree, blocked_after=blocked_after):
                        log.info("TreeRuns", tree=tree.id, pid=os.getpid())
                        await system.wait()
                        code = GAVE_UP if system.gave_up else DRAINED
            except TreeError as error:
                print(f"resprout: bad configuration: {error}", file=sys.stderr)  # noqa: T201 - for a person.
                return BAD_CONFIGURATION
            except StartFailed as error:
                print(f"resprout: the tree did not start: {error}", file=sys.stderr)  # noqa: T201 - the same.
                return GAVE_UP
            code = FORCED if forced.is_set() else code
            how = "gave up: see the errors above" if code == GAVE_UP else "stopped"
            level = logging.ERROR if code == GAVE_UP else logging.INFO
            log.log(level, "TreeEnded", tree=tree.id, how=how, exit_code=code)
            return code


async def _obey(
    signals: AsyncIterator[int], stop: trio.CancelScope, system: System, forced: trio.Event
) -> None:
    """The first signal asks, the second does not."""
    async for number in signals:
        name = signal.Signals(number).name
        if not stop.cancel_called:
            log.info("Stopping", signal=name, hint="in order; a second signal forces it")
            stop.cancel(reason=name)
        else:
            log.warning("StopForced", signal=name)
            forced.set()
            system.abort()
