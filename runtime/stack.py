"""Where a task stands: for reports about actors that do not end."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio.lowlevel import Task


def stack_of(task: Task | None) -> str:
    """The frames *task* waits in, outermost first, as a traceback would show them."""
    if task is None:
        return ""
    frames = [
        traceback.FrameSummary(frame.f_code.co_filename, lineno, frame.f_code.co_name)
        for frame, lineno in task.iter_await_frames()
    ]
    return "".join(traceback.format_list(frames))
