"""Lines that say the same again and again: the first ones are written, then fewer and fewer."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

import attrs

FREE: Final = 5
"""So many lines are written at once, before any is held back: all the crashes that lead to a default limit."""

FIRST_GAP: Final = 10.0
LAST_GAP: Final = 300.0
"""Seconds between two lines that say the same: doubled from the first to the last value. An hour of an outage
is some twenty lines."""

REMEMBERED: Final = 2_000


@attrs.define
class _Line:
    count: int = 0
    last_seen: float = -math.inf
    next_at: float = -math.inf
    held: int = 0


class Thinning:
    """Decides which lines are written. Pure: the caller gives the moment."""

    def __init__(self) -> None:
        self._lines: OrderedDict[tuple[Hashable, ...], _Line] = OrderedDict()

    def admit(self, key: tuple[Hashable, ...], now: float) -> int | None:
        """None if this line is held back, else how many were since the last that was written."""
        line = self._lines.get(key)
        if line is None or now - line.last_seen > LAST_GAP:
            line = self._lines[key] = _Line()  # News, or so long ago that it is news again.
        self._lines.move_to_end(key)
        if len(self._lines) > REMEMBERED:
            self._lines.popitem(last=False)
        line.last_seen = now
        if now < line.next_at:
            line.held += 1
            return None
        line.count += 1
        if line.count >= FREE:
            line.next_at = now + min(LAST_GAP, FIRST_GAP * 2.0 ** min(line.count - FREE, 10))
        held, line.held = line.held, 0
        return held

    def forget(self, about: Hashable) -> None:
        """Good news *about* somebody, the first part of his keys: what goes wrong after it is news again."""
        for key in [key for key in self._lines if key[0] == about]:
            del self._lines[key]
