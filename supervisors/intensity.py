"""How many restarts a supervisor tolerates: one sliding window for all its children. Pure.

OTP's rule: an entry exactly one period old still counts, and intensity 0 gives up at the first restart.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen
class Intensity:
    """At most *max_restarts* restarts within any *period* seconds."""

    max_restarts: int = 3
    period: float = 5.0


@attrs.frozen
class Allowed:
    """Restart; *recent* is the history to keep."""

    recent: tuple[float, ...]


@attrs.frozen
class Exceeded:
    """One restart too many."""


def count_restart(recent: Sequence[float], now: float, limit: Intensity) -> Allowed | Exceeded:
    """Count one more restart against *limit*.

    Args:
        recent: Times of earlier restarts, in seconds on the trio clock, oldest first.
        now: Time of this restart, on the same clock; never before the last of *recent*.
        limit: What the supervisor tolerates.

    Returns:
        `Allowed` with the history to keep, or `Exceeded` if this is one restart too many.

    >>> count_restart([0.0, 4.0], now=6.0, limit=Intensity(max_restarts=2, period=5.0))
    Allowed(recent=(4.0, 6.0))
    """
    kept = (*recent[bisect_left(recent, now - limit.period) :], now)
    return Allowed(kept) if len(kept) <= limit.max_restarts else Exceeded()
