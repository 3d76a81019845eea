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


def is_busy_in(cell: Cell, task: Task) -> bool:
    """Whether *task* is at work on a message of *cell*'s actor, or of one below it, which cannot end before.

    Background tasks do not count: they are cancelled when their actor ends, and hold nothing up.
    """
    top = task_in(cell.system.nursery, task)
    return top is not None and _is_task_of(cell, top)


def _is_task_of(cell: Cell, task: Task) -> bool:
    return cell.task is task or any(_is_task_of(child, task) for child in cell.children.values())
