"""Waking one waiting task, so that no ring is lost between two waits."""

import trio


class Bell:
    """A ring while nobody waits is kept for the next wait; several rings count as one."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake the waiting task, or let its next wait return at once."""
        self._event.set()

    async def wait(self, timeout: float) -> None:
        """Wait for a ring, *timeout* seconds at most."""
        with trio.move_on_after(max(0.0, timeout)):
            await self._event.wait()
        self._event = trio.Event()
