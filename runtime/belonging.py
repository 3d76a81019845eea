"""Which actor a task belongs to: whoever waits for his own end waits for ever, so it is found out before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio
    from trio.lowlevel import Task

    from resprout.runtime.cell import Cell


def task_in(nursery: trio.Nursery, task: Task) -> Task | None:
    """*task*, or the one above it, that runs directly in *nursery*; None if it runs elsewhere."""
    while task.parent_nursery is not None:
        if task.parent_nursery is nursery:
            return task
        task = task.parent_nursery.parent_task
    return None


def holds(cell: Cell, task: Task) -> bool:
    """Whether *task* is part of the actor in *cell*, or of one below it."""
    top = task_in(cell.system.nursery, task)
    return top is not None and _runs(cell, top)


def _runs(cell: Cell, task: Task) -> bool:
    if cell.task is task or (cell.task_count and cell.satellites.holds(task)):
        return True
    return any(_runs(child, task) for child in cell.children.values())
