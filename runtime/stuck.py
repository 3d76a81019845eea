"""Actors that do not end: trio cannot kill a task that never reaches a checkpoint, so it is at least named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resprout.runtime.exits import Killed
from resprout.runtime.life import Life
from resprout.runtime.lifecycle import ActorStuck
from resprout.runtime.stack import stack_of

if TYPE_CHECKING:
    from resprout.runtime.cell import Cell
    from resprout.runtime.incarnation import Incarnation
    from resprout.runtime.satellites import Satellites

STUCK_AFTER = 2.0  # Seconds from the cancellation until an actor that still runs is reported.


def report_if_stuck(cell: Cell, incarnation: Incarnation, satellites: Satellites | None) -> None:
    """Report *incarnation*, which was cancelled `STUCK_AFTER` seconds ago, unless it has a reason to be there."""
    if any(child.alive for child in cell.children.values()):
        return  # What holds it up is a child, which is reported itself.
    if satellites is not None and satellites.ending:
        stack = satellites.stacks()
    elif cell.life is Life.STOPPING and not isinstance(incarnation.fate, Killed):
        return  # It runs its `on_stop`, which has a deadline of its own.
    else:
        stack = stack_of(cell.task)
    cell.system.events.emit(ActorStuck(actor=cell.path, after=STUCK_AFTER, stack=stack))
