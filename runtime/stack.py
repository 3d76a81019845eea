"""Where a task stands: for reports about actors that do not end."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trio.lowlevel import Task

MACHINERY: Final = tuple(
    str(folder) + "/"
    for package in (Path(__file__).parent, Path(trio.__file__).parent)
    for folder in {package, package.resolve()}
)
"""Code below these folders waits on behalf of an application: its frames are no answer to "where"."""


def stack_of(task: Task | None) -> str:
    """The frames *task* waits in, outermost first, as a traceback would show them; then its child tasks'."""
    if task is None:
        return ""
    stack = "".join(traceback.format_list(frames_of(task)))
    below = (f"a task of its nursery, {child.name}:\n{stack_of(child)}" for child in _children(task))
    return "".join((stack, *below))


def place_of(task: Task | None) -> str:
    """Where *task* waits, in a line: its innermost frame of the application's code, or its child tasks'.

    ``shop/till.py:41 in on_stop``; of frames that are all machinery it is the innermost.
    """
    if task is None:
        return ""
    below = [place_of(child) for child in _children(task)]
    return "; ".join(below) if below else innermost(frames_of(task))


def innermost(frames: Iterable[traceback.FrameSummary]) -> str:
    """The last of *frames* that is the application's, or else the very last, in a line."""
    frames = list(frames)
    own = [frame for frame in frames if not frame.filename.startswith(MACHINERY)]
    last = (own or frames)[-1:]
    return "".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in last)


def frames_of(task: Task) -> list[traceback.FrameSummary]:
    """The frames *task* waits in, outermost first, without the values of variables."""
    frames: list[traceback.FrameSummary] = []
    with suppress(TypeError):  # trio cannot look into every awaitable: of one written in C it tells no more.
        for frame, lineno in task.iter_await_frames():
            frames.append(traceback.FrameSummary(frame.f_code.co_filename, lineno, frame.f_code.co_name))
    return frames


def _children(task: Task) -> Iterator[Task]:
    for nursery in task.child_nurseries:
        yield from tuple(nursery.child_tasks)
