"""How long this process itself did not come to its turn: a call that is late because of that is nobody's fault."""

import time

import attrs
import trio

TICK = 0.02


@attrs.define(eq=False)
class Lag(trio.abc.Instrument):
    """Watches the loop from within.

    Attributes:
        overslept: The longest delay of a task that wanted to run, in seconds: the machine was busy.
        busy: The longest time in which tasks ran and none could look at the clock again: we were.
    """

    overslept: float = 0.0
    busy: float = 0.0
    _since: float = attrs.field(factory=time.perf_counter)

    @property
    def worst(self) -> float:
        """By how much a deadline may have been missed, at worst."""
        return self.overslept + self.busy

    async def feel(self) -> None:
        """Watch until cancelled."""
        trio.lowlevel.add_instrument(self)
        self._since = time.perf_counter()
        try:
            while True:
                due = trio.current_time() + TICK
                await trio.sleep_until(due)
                self.overslept = max(self.overslept, trio.current_time() - due)
        finally:
            trio.lowlevel.remove_instrument(self)

    def after_io_wait(self, timeout: float) -> None:
        """Tasks begin to run."""
        self._since = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """All that could run have run."""
        self.busy = max(self.busy, time.perf_counter() - self._since)
