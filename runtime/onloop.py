"""Which actor's code the loop's thread is running, seen from another thread."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from resprout.runtime.belonging import task_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    import trio
    from trio.lowlevel import Task

    from resprout.runtime.cell import Cell
    from resprout.runtime.system import System


def frames_in(thread: int) -> list[FrameType]:
    """The frames of the thread with the ident *thread*, outermost first."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread)
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def running_task(system: System, frames: list[FrameType]) -> Task | None:
    """The task of *system* whose code is among *frames*."""
    # The loop may turn again while this looks: then there is nothing to find any more.
    with suppress(RuntimeError):
        found = set(map(id, frames))
        return next((task for task in _tasks(system.nursery) if id(frame_of(task)) in found), None)
    return None


def frame_of(task: Task) -> FrameType | None:
    """The outermost frame of *task*."""
    frame: FrameType | None = getattr(task.coro, "cr_frame", None)
    return frame


def at_work(system: System, task: Task | None) -> tuple[str, str | None]:
    """The path of the actor to which *task* belongs, and the message that it has in work."""
    top = task_in(system.nursery, task) if task is not None else None
    if top is None or system.root is None:
        return "", None
    for cell in cells_below(system.root):
        if cell.task is top:
            message = cell.incarnation.current if cell.incarnation is not None else None
            return cell.path, message.method if message is not None else None
        if top in cell.background:
            return cell.path, None
    return "", None


def cells_below(cell: Cell) -> Iterator[Cell]:
    """*cell* and all places below it, parents first."""
    yield cell
    for child in tuple(cell.children.values()):
        yield from cells_below(child)


def _tasks(nursery: trio.Nursery) -> Iterator[Task]:
    for task in tuple(nursery.child_tasks):
        yield task
        for inner in tuple(task.child_nurseries):
            yield from _tasks(inner)
