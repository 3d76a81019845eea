"""What a pool decides, as pure functions over frozen values: no clock, no socket, no randomness of their own.

A pool has `max_size` slots, numbered from zero. A slot is empty, connecting, idle or in use, and nothing else:
a connection that is being closed or put in order still belongs to whoever used it. So the four counts of a
`Census` always add up to `max_size`.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from resprout.actors.postgres.policy import PoolPolicy


class SlotState(enum.Enum):
    """What a slot is doing."""

    EMPTY = "empty"
    CONNECTING = "connecting"
    IDLE = "idle"
    IN_USE = "in_use"


# A new connection becomes idle by way of in use: whoever waits has it at once.
MOVES = {
    SlotState.EMPTY: frozenset({SlotState.CONNECTING}),
    SlotState.CONNECTING: frozenset({SlotState.EMPTY, SlotState.IN_USE}),
    SlotState.IN_USE: frozenset({SlotState.IDLE, SlotState.EMPTY}),
    SlotState.IDLE: frozenset({SlotState.IN_USE, SlotState.EMPTY}),
}


@attrs.frozen
class Census:
    """How many slots are in which state."""

    empty: int = 0
    connecting: int = 0
    idle: int = 0
    in_use: int = 0

    @property
    def size(self) -> int:
        """All slots: the pool's `max_size`, always."""
        return self.empty + self.connecting + self.idle + self.in_use

    @property
    def open(self) -> int:
        """Connections there are."""
        return self.idle + self.in_use


def census(states: Iterable[SlotState]) -> Census:
    """Count the slots.

    >>> census([SlotState.IDLE, SlotState.EMPTY, SlotState.EMPTY])
    Census(empty=2, connecting=0, idle=1, in_use=0)
    """
    counts = Counter(states)
    return Census(**{state.value: counts[state] for state in SlotState})


def slot_to_open(states: Iterable[SlotState], waiting: int, policy: PoolPolicy) -> int | None:
    """The number of the slot to open next, or None.

    One attempt at a time for the endpoint: a server that comes back must not meet all its clients at once.

    >>> from resprout.actors.postgres.policy import PoolPolicy
    >>> slot_to_open([SlotState.IN_USE, SlotState.EMPTY], waiting=1, policy=PoolPolicy(max_size=2))
    1
    """
    states = tuple(states)
    counts = census(states)
    if counts.connecting or not counts.empty or not (waiting or counts.open < policy.min_size):
        return None
    return states.index(SlotState.EMPTY)


@attrs.frozen
class Codel:
    """Whether the line is only long, or never gets shorter (RFC 8289, as Elixir's DBConnection applies it).

    *shortest* is the shortest wait seen in the interval that ends at *until*; *overloaded* is the verdict on
    the one before.
    """

    until: float = -math.inf
    shortest: float = 0.0
    overloaded: bool = False


def served(codel: Codel, now: float, waited: float, policy: PoolPolicy) -> Codel:
    """Somebody left the line for a connection at *now*, after *waited* seconds."""
    if now < codel.until:
        return attrs.evolve(codel, shortest=min(codel.shortest, waited))
    # An interval that ended long ago says nothing about now: there was no line meanwhile.
    recent = now < codel.until + policy.codel_interval
    overloaded = recent and codel.shortest > policy.codel_target
    return Codel(until=now + policy.codel_interval, shortest=waited, overloaded=overloaded)


def is_stale(codel: Codel, waited: float, policy: PoolPolicy) -> bool:
    """Whether somebody who waited so long is sent away, so that those behind are served in time."""
    return codel.overloaded and waited > 2 * policy.codel_target


def lifetime(policy: PoolPolicy, rng: random.Random) -> float:
    """Seconds a new connection may live."""
    return policy.max_lifetime * (1.0 - rng.uniform(0.0, policy.lifetime_jitter))


def should_close(
    now: float, expires: float, idle_since: float, open_connections: int, policy: PoolPolicy
) -> str | None:
    """Why an idle connection is closed now; None to keep it."""
    if now >= expires:
        return "it is old"
    if open_connections > policy.min_size and now - idle_since >= policy.idle_timeout:
        return "it was not needed"
    return None


def holds_too_long(now: float, held_since: float, reported: bool, policy: PoolPolicy) -> bool:
    """Whether the holder of a connection is to be reported: once."""
    return not reported and now - held_since >= policy.holder_warning
