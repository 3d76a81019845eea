"""Timers of one incarnation: casts to the actor itself, at a moment or at each of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from resprout.runtime.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resprout.runtime.deadlines import Alarm, Timekeeper
    from resprout.runtime.mailbox import Mailbox


class Timer:
    """A cast to come. Cancelling it also takes it back from the mailbox, if it waits there unread."""

    __slots__ = ("_alarm", "_message", "_period", "_timers")

    def __init__(self, timers: Timers, message: Message, period: float | None) -> None:
        self._timers, self._message, self._period = timers, message, period
        self._alarm: Alarm | None = None

    def _arm(self, moment: float) -> None:
        self._alarm = self._timers.clock.at(moment, lambda: self._ring(moment))

    def _ring(self, moment: float) -> None:
        queue = self._timers.mailbox.queue
        if self._period is None:
            self._timers.active.discard(self)
            self._timers.mailbox.put(self._message)
            return
        if self._message not in queue:
            self._timers.mailbox.put(self._message)
        # From the moment it was due, so that the beat does not drift; never a burst to catch up.
        self._arm(max(moment + self._period, trio.current_time()))

    def cancel(self) -> None:
        """Do not cast any more."""
        self._timers.active.discard(self)
        if self._alarm is not None:
            self._alarm.cancel()
        if self._message in self._timers.mailbox.queue:
            self._timers.mailbox.queue.remove(self._message)


class Timers:
    """Every timer of one incarnation."""

    __slots__ = ("active", "clock", "mailbox")

    def __init__(self, clock: Timekeeper, mailbox: Mailbox) -> None:
        self.clock, self.mailbox = clock, mailbox
        self.active: set[Timer] = set()

    def after(
        self, seconds: float, method: str, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Timer:
        """Cast once, in *seconds*."""
        return self._start(Timer(self, Message(method, args, kwargs), None), seconds, least=0)

    def every(
        self, seconds: float, method: str, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Timer:
        """Cast each *seconds*."""
        return self._start(Timer(self, Message(method, args, kwargs), seconds), seconds, least=0.001)

    def _start(self, timer: Timer, seconds: float, *, least: float) -> Timer:
        if not seconds >= least:
            raise ValueError(f"a timer needs at least {least:g} seconds, not {seconds!r}")
        self.active.add(timer)
        timer._arm(trio.current_time() + seconds)
        return timer

    def cancel_all(self) -> None:
        """The incarnation ended."""
        for timer in tuple(self.active):
            timer.cancel()
