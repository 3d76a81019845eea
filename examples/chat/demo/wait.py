"""Waiting for what the tree does, from outside of it."""

from collections.abc import Callable

import trio

TICK = 0.01  # Seconds between two looks; recovery is measured no finer than this.


async def until(reached: Callable[[], bool]) -> None:
    """Return once *reached* is true."""
    # Processes and counters outside have no event to wait for.
    while not reached():  # noqa: ASYNC110 - see above.
        await trio.sleep(TICK)
