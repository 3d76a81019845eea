"""A message to oneself after a time without any: for sessions that expire, caches that may be dropped.

The time counts from the last wait for mail. Between two rings of its alarm a wait costs a look at the clock
and no timer of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from resprout.runtime.timers import Beat

if TYPE_CHECKING:
    from resprout.runtime.cell import Cell
    from resprout.runtime.deadlines import Alarm


class IdleTimer:
    """Puts *beat* into the mailbox of *cell* whenever its actor has had nothing to do for *seconds*."""

    __slots__ = ("_alarm", "_beat", "_cell", "_idle_since", "_mailbox", "_seconds")

    def __init__(self, cell: Cell, seconds: float, beat: Beat) -> None:
        self._cell, self._mailbox, self._seconds, self._beat = cell, cell.mailbox, seconds, beat
        self._idle_since: float | None = None  # None while the actor is busy.
        self._alarm: Alarm | None = None

    def sleeping(self) -> None:
        """The actor is about to wait for mail."""
        if self._idle_since is None:
            self._idle_since = trio.current_time()
        if self._alarm is None:
            self._arm(self._idle_since + self._seconds)

    def woken(self) -> None:
        """Something came. Orders of an operator, who only looks, do not count."""
        if self._mailbox.queue or not all(signal.is_order for signal in self._mailbox.control):
            self._idle_since = None

    def cancel(self) -> None:
        """Send nothing any more, and take back what waits unread."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._mailbox.discard(self._beat)

    def _arm(self, moment: float) -> None:
        self._alarm = self._cell.system.clock.at(moment, self._ring, self._cell)

    def _ring(self) -> None:
        self._alarm = None
        if self._idle_since is None:
            return  # Busy: the next wait sets the alarm again.
        due = self._idle_since + self._seconds
        if due > trio.current_time():
            self._arm(due)
        else:
            self._mailbox.put(self._beat)
