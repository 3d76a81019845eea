"""Timers of one incarnation: casts to the actor itself, at a moment or at each of many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from resprout.runtime.message import Message
from resprout.runtime.signals import Follow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resprout.runtime.cell import Cell
    from resprout.runtime.deadlines import Alarm


class Beat(Message):
    """A cast that a timer made. It dies with the incarnation that set the timer; other mail survives."""

    __slots__ = ()


class Step(Beat):
    """A cast that `then` made: one that cannot be handled crashes the actor."""

    __slots__ = ()


class Timer:
    """A cast to come. Cancelling it also takes it back from the mailbox, if it waits there unread."""

    __slots__ = ("_alarm", "_message", "_period", "_timers")

    def __init__(self, timers: Timers, message: Beat, period: float | None) -> None:
        self._timers, self._message, self._period = timers, message, period
        self._alarm: Alarm | None = None

    def _arm(self, moment: float) -> None:
        self._alarm = self._timers.clock.at(moment, lambda: self._ring(moment), self._timers.cell)

    def _ring(self, moment: float) -> None:
        if self._period is None:
            self._timers.active.discard(self)
            self._timers.mailbox.put(self._message)
            return
        if not self._timers.mailbox.holds(self._message):
            self._timers.mailbox.put(self._message)
        # Counted from the moment it was due, so that the beat does not drift; missed beats are left out.
        late = trio.current_time() - moment
        self._arm(moment + self._period * (math.floor(late / self._period) + 1))

    def cancel(self) -> None:
        """Do not cast any more."""
        self._timers.active.discard(self)
        if self._alarm is not None:
            self._alarm.cancel()
        self._timers.mailbox.discard(self._message)


class Timers:
    """Every timer of one incarnation in *cell*."""

    __slots__ = ("active", "cell", "clock", "mailbox")

    def __init__(self, cell: Cell) -> None:
        self.cell, self.clock, self.mailbox = cell, cell.system.clock, cell.mailbox
        self.active: set[Timer] = set()

    def after(
        self, seconds: float, method: str, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Timer:
        """Cast once, in *seconds*."""
        return self._start(Timer(self, Beat(method, args, kwargs), None), seconds, least=0)

    def every(
        self, seconds: float, method: str, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Timer:
        """Cast each *seconds*."""
        return self._start(Timer(self, Beat(method, args, kwargs), seconds), seconds, least=0.001)

    def now(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        asked_by: Message | None,
    ) -> None:
        """Cast before all that waits."""
        self.mailbox.follow(Follow(message=self.step(method, args, kwargs), asked_by=asked_by))

    def step(self, method: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Step:
        """A cast that ends with the incarnation, as all of these."""
        return Step(method, args, kwargs)

    def cast_after(self, seconds: float, message: Beat) -> Timer:
        """Cast *message* once, in *seconds*."""
        return self._start(Timer(self, message, None), seconds, least=0)

    def _start(self, timer: Timer, seconds: float, *, least: float) -> Timer:
        if not seconds >= least:
            raise ValueError(f"a timer needs at least {least:g} seconds, not {seconds!r}")
        self.active.add(timer)
        timer._arm(trio.current_time() + seconds)
        return timer

    def cancel_all(self) -> None:
        """The incarnation ended: its beats are not for the next one, not even those that wait unread."""
        for timer in tuple(self.active):
            timer.cancel()
        self.mailbox.discard(*(message for message in self.mailbox.queue if isinstance(message, Beat)))
