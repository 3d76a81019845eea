"""When a whole transaction is run again: only where Postgres says that running it again is the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import attrs

from resprout.runtime.backoff import Backoff, delay

if TYPE_CHECKING:
    import random

# 40001 and 40P01: it was rolled back because of what others did at the same time, not because of what it did.
REPEATED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


@attrs.frozen
class RepeatPolicy:
    """How often a transaction is run again.

    Attributes:
        attempts: Runs in all.
        timeout: Seconds from the beginning of the first after which none begins.
        backoff: Waits between them, shorter than those between attempts to connect: the rival is soon done.
    """

    attempts: int = 10
    timeout: float = 30.0
    backoff: Backoff = Backoff(floor=0.001, base=0.01, cap=1.0)

    def __attrs_post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts}")
        if not self.timeout > 0:
            raise ValueError(f"timeout must be a positive number of seconds, not {self.timeout}")


def pause_before_repeat(
    error: asyncpg.PostgresError, attempts: int, time_left: float, policy: RepeatPolicy, rng: random.Random
) -> float | None:
    """Seconds to wait before the next run, after *attempts* runs that ended in *error*; None to give up.

    >>> import random
    >>> ours = asyncpg.UniqueViolationError("twice")
    >>> pause_before_repeat(ours, 1, 30.0, RepeatPolicy(), random.Random(7)) is None
    True
    """
    if not isinstance(error, REPEATED) or attempts >= policy.attempts:
        return None
    pause = delay(policy.backoff, attempts, rng)
    return pause if pause < time_left else None
