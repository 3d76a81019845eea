"""Actors that do not end: trio cannot kill a task that never reaches a checkpoint, so it is at least named."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from resprout.runtime.lifecycle import ActorStuck, StuckActorEnded
from resprout.runtime.stack import stack_of

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from resprout.runtime.cell import Cell
    from resprout.runtime.deadlines import Alarm

STUCK_AFTER: Final = 2.0
"""Seconds from its cancellation until an actor that still runs is reported. The time between two reports then
doubles, up to the next value."""

LAST_GAP: Final = 300.0


class StuckWatch:
    """Watches the end of one incarnation in *cell*: reports that it is overdue, again and again, and its end."""

    __slots__ = ("_alarm", "_cell", "_count", "_due", "_gap", "_overdue_since", "_stuck_since")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._overdue_since = math.inf  # When it was, or will be, cancelled.
        self._gap = STUCK_AFTER  # The next report comes so long after that.
        self._alarm: Alarm | None = None
        self._due = math.inf  # When the alarm rings.
        self._count = 0
        self._stuck_since = math.inf  # The same as *overdue_since*, at the first report.

    def expect(self, moment: float) -> None:
        """The phase that begins now has to end at *moment*, on the trio clock: it is cancelled then."""
        self._overdue_since, self._gap = moment, STUCK_AFTER
        if moment + STUCK_AFTER < self._due:
            self._arm()

    def ended(self) -> None:
        """The incarnation is over."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._count:
            late = trio.current_time() - self._stuck_since
            self._cell.system.events.emit(StuckActorEnded(actor=self._cell.path, after=late))

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._due = self._overdue_since + self._gap
        clock = self._cell.system.clock
        self._alarm = clock.at(self._due, self._look, self._cell) if self._due < math.inf else None

    def _look(self) -> None:
        self._alarm, self._due = None, math.inf
        now = trio.current_time()
        if now >= self._overdue_since + self._gap:  # Else it was given more time after the alarm was set.
            self._report(now)
            self._gap += min(self._gap, LAST_GAP)
        self._arm()

    def _report(self, now: float) -> None:
        stack = "\n".join(map(stack_of, holding_up(self._cell)))
        if not stack:
            return
        if not self._count:
            self._stuck_since = self._overdue_since
        self._count += 1
        late = now - self._overdue_since
        self._cell.system.events.emit(
            ActorStuck(actor=self._cell.path, after=late, stack=stack, count=self._count)
        )


def holding_up(cell: Cell) -> list[Task]:
    """The tasks for which the end of the incarnation in *cell* waits: none if it is a child that is late."""
    own = cell.incarnation.scope if cell.incarnation is not None else None
    if own is None and any(child.alive for child in cell.children.values()):
        return []  # Which is reported itself.
    late = cell.late_satellites()
    return late or ([cell.task] if cell.task is not None else [])
