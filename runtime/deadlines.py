"""One task keeps the time for every call and timer of a runtime.

`fail_after` per call costs as much as the call itself. Here calls with the same timeout share a bucket, which
is in order of expiry because it is in order of arrival; a finished call leaves its bucket at once. The task
sleeps until the earliest moment it knew of when it went to sleep, so a busy runtime wakes it about once per
timeout and not once per call.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from resprout.runtime.cell import Cell
    from resprout.runtime.message import Call

FEW = 64  # Below this number nothing is cleared away.


class Alarm:
    """A moment at which *ring* is called once; cancelling it after that does nothing."""

    __slots__ = ("_keeper", "owner", "ring")

    def __init__(self, keeper: Timekeeper, ring: Callable[[], None], owner: Cell | None) -> None:
        self._keeper, self.owner = keeper, owner
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        """Do not ring."""
        if self.ring is not None:
            self.ring = None
            self._keeper.alarm_cancelled()


class Timekeeper:
    """Deadlines of calls, and alarms."""

    def __init__(
        self, expire: Callable[[Call], None], failed: Callable[[BaseException, Cell | None], None]
    ) -> None:
        """*expire* fails a call whose deadline has passed; *failed* is told what an alarm raised, and whose."""
        self._expire, self._failed = expire, failed
        self._buckets: dict[float, dict[Call, None]] = {}
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._cancelled = 0  # Alarms in the heap that will not ring.
        self._ids = itertools.count()
        self._wake_at = math.inf
        self._sleep = trio.CancelScope()

    def watch(self, call: Call) -> None:
        """Fail *call* with `CallTimeoutError` if it has no answer `call.timeout` seconds from now."""
        bucket = self._buckets.get(call.timeout)
        if bucket is None:
            if call.timeout == math.inf:
                return
            bucket = self._buckets[call.timeout] = {}
        call.bucket = bucket
        call.deadline = deadline = trio.current_time() + call.timeout
        bucket[call] = None
        if deadline < self._wake_at:
            self._wake_by(deadline)

    def at(self, moment: float, ring: Callable[[], None], owner: Cell | None = None) -> Alarm:
        """Call *ring* at *moment* on the trio clock, for *owner*: if it raises, that is the crash of its actor."""
        alarm = Alarm(self, ring, owner)
        heapq.heappush(self._alarms, (moment, next(self._ids), alarm))
        if moment < self._wake_at:
            self._wake_by(moment)
        return alarm

    def alarm_cancelled(self) -> None:
        """Clear the heap once most of it is cancelled: timeouts renewed with each message must not pile up."""
        self._cancelled += 1
        if self._cancelled > max(FEW, len(self._alarms) // 2):
            self._alarms = [entry for entry in self._alarms if entry[2].ring is not None]
            heapq.heapify(self._alarms)
            self._cancelled = 0

    def _wake_by(self, moment: float) -> None:
        self._wake_at = moment
        self._sleep.deadline = moment

    async def run(self) -> None:
        """Keep the time until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._wake_at) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            self._wake_at = min(self._expire_calls(now), self._ring_alarms(now))

    def _expire_calls(self, now: float) -> float:
        """Fail what is due; returns the earliest deadline that is left."""
        earliest = math.inf
        for timeout, bucket in list(self._buckets.items()):
            for call in list(itertools.takewhile(lambda call: call.deadline <= now, bucket)):
                self._expire(call)
            head = next(iter(bucket), None)
            if head is not None:
                earliest = min(earliest, head.deadline)
            elif len(self._buckets) > FEW:
                del self._buckets[timeout]  # Timeouts computed anew for each call must not pile up.
        return earliest

    def _ring_alarms(self, now: float) -> float:
        while self._alarms and (self._alarms[0][0] <= now or self._alarms[0][2].ring is None):
            alarm = heapq.heappop(self._alarms)[2]
            ring, alarm.ring = alarm.ring, None
            if ring is None:
                self._cancelled -= 1
                continue
            try:
                ring()
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - one alarm must not stop the clock for all.
                self._failed(error, alarm.owner)
        return self._alarms[0][0] if self._alarms else math.inf
