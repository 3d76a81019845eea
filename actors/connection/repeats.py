"""Loud once, then ever more quietly: an outage of an hour, or a link that flaps for one, must not fill the log.

Of things that happen again and again, the 1st, 2nd, 4th, 8th, … are worth their log level, the others are for
debugging. So a thousand repeats make ten lines. After two minutes without one, the next is news again. Events and
metrics have them all.
"""

from collections.abc import Hashable
from typing import Final

import attrs

CALM: Final = 120.0


@attrs.define
class Repeats:
    """Counts how often each of a few things has happened without two minutes' peace in between."""

    _seen: dict[Hashable, tuple[int, float]] = attrs.field(factory=dict)

    def count(self, what: Hashable, now: float) -> int:
        """*what* happens *now*; returns how many like it came before."""
        before, last = self._seen.get(what, (-1, now))
        count = 0 if now - last > CALM else before + 1
        self._seen[what] = count, now
        return count


def is_loud(repeats: int) -> bool:
    """Whether the next after *repeats* others is worth a line in the log.

    >>> [n + 1 for n in range(100) if is_loud(n)]
    [1, 2, 4, 8, 16, 32, 64]
    """
    return repeats & (repeats + 1) == 0
