"""One task keeps the time for all statements and waiters of a pool.

A cancel scope for each statement would cost a tenth of the statement. Deadlines are compared with the moment the
task will wake anyway: with the usual timeouts it wakes about once per timeout, not once per statement.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Watch:
    """Calls *ring* when the earliest deadline it was told of has come.

    Attributes:
        wakes_at: No need to tell it of a later moment.
    """

    def __init__(self, ring: Callable[[float], float]) -> None:
        """*ring(now)* does what is due and returns the earliest moment that is left."""
        self.wakes_at = math.inf
        self._ring = ring
        self._sleep = trio.CancelScope()

    def by(self, moment: float) -> None:
        """Wake at *moment* at the latest."""
        if moment < self.wakes_at:
            self.wakes_at = self._sleep.deadline = moment

    async def run(self) -> None:
        """Keep the time until cancelled."""
        while True:
            with trio.CancelScope(deadline=self.wakes_at) as self._sleep:
                await trio.sleep_forever()
            self.wakes_at = math.inf
            self.wakes_at = self._ring(trio.current_time())
