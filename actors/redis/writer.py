"""The writing half of a link: what tasks have queued leaves in few, large pieces."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from resprout.actors.redis.line import Line
    from resprout.actors.redis.wire import Wire

SHIPLOAD = 50
"""So many commands are written at once by the task that brings the last of them, not left to the writer: the
server works on them while other tasks still add theirs."""


class Writer:
    """Writes what *line* holds to *wire*, in a task of its own that sleeps while there is nothing.

    Attributes:
        sleeping: The task, while it sleeps. Where a call is too dear, read it and call `wake` only if it is not None.
    """

    def __init__(self, line: Line, wire: Wire) -> None:
        self._line, self._wire = line, wire
        self.sleeping: trio.lowlevel.Task | None = None

    async def run(self) -> None:
        """Write for as long as the link lives.

        Raises:
            OSError: The wire is broken.
        """
        line, send_all, this_task = self._line, self._wire.send_all, trio.lowlevel.current_task()
        while True:
            if not line.unsent:
                self.sleeping = this_task
                await trio.lowlevel.wait_task_rescheduled(self._cancelled)
            data = line.begin_batch()
            await send_all(data)
            line.end_batch(len(data))

    def wake(self) -> None:
        """There may be something to write."""
        if self.sleeping is not None and self._line.unsent:
            writer, self.sleeping = self.sleeping, None
            trio.lowlevel.reschedule(writer)

    def ship(self) -> None:
        """Write what waits, as far as it goes at once; the task is on its way and writes the rest."""
        if not self._line.batch:
            with contextlib.suppress(OSError):  # The task will meet it too. No caller may be woken from here.
                self._line.shipped(self._wire.send_now(b"".join(self._line.unsent)))

    def _cancelled(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self.sleeping = None
        return trio.lowlevel.Abort.SUCCEEDED
