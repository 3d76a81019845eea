"""What a supervisor of connections does at its restart limit instead of giving up: wait, and go on. Pure."""

from __future__ import annotations

import math

import attrs


@attrs.frozen
class CoolDown:
    """Pause after too many restarts: *first* seconds, doubling up to *cap*.

    The length starts anew once the limit was not reached for *cap* seconds after a pause.

    Raises:
        ValueError: ``0 < first <= cap`` does not hold, or *cap* is not finite.
    """

    first: float = 1.0
    cap: float = 60.0

    def __attrs_post_init__(self) -> None:
        if not 0 < self.first <= self.cap < math.inf:
            raise ValueError(f"0 < first <= cap must hold, and both be finite: {self}")


@attrs.frozen
class Pauses:
    """How many pauses there were in a row, and when the last one ended, in seconds on the trio clock."""

    count: int = 0
    until: float = 0.0


def next_pause(pauses: Pauses, now: float, policy: CoolDown) -> tuple[float, Pauses]:
    """The length of the pause that begins now, and the history to keep.

    >>> next_pause(Pauses(count=2, until=10.0), now=11.0, policy=CoolDown(first=1.0))
    (4.0, Pauses(count=3, until=15.0))
    """
    count = 0 if now > pauses.until + policy.cap else pauses.count
    length = min(policy.cap, policy.first * 2.0 ** min(count, 32))
    return length, Pauses(count + 1, now + length)
