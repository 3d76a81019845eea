"""What follows from what the method of an event asked for: the rules of state machines, over plain values."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from resprout.runtime.timers import Step

S = TypeVar("S")


class Clock(enum.Enum):
    """The two timeouts that need no name."""

    STATE = "state"  # Ends with the state.
    EVENT = "event"  # Ends with the next event.


TimeoutKey: TypeAlias = Clock | str


@attrs.frozen
class Unchanged:
    """No state was asked for: the present one stays."""


@attrs.frozen
class Timeout:
    """Have *message* handled in *seconds*; `math.inf` only cancels what runs under *key*."""

    key: TimeoutKey
    seconds: float
    message: Step


@attrs.frozen
class Transition(Generic[S]):
    """The state that follows, whether it is another one, and whether it is entered."""

    state: S
    changed: bool
    entered: bool


@attrs.frozen
class TimeoutPlan:
    """Which timeouts to cancel, then which to start, in order."""

    cancel: tuple[TimeoutKey, ...]
    start: tuple[Timeout, ...]


def decide(state: S, wanted: S | Unchanged, *, repeat: bool) -> Transition[S]:
    """The transition out of *state*. To repeat a state enters it again, and is no change.

    >>> decide("shut", "shut", repeat=False)
    Transition(state='shut', changed=False, entered=False)
    """
    new = state if isinstance(wanted, Unchanged) else wanted
    changed = bool(new != state)
    return Transition(new, changed, changed or repeat)


def plan_timeouts(running: Iterable[TimeoutKey], asked: Sequence[Timeout], *, changed: bool) -> TimeoutPlan:
    """What becomes of the *running* timeouts after an event that asked for others.

    The event has ended the event timeout, a change of state the state timeout; of several requests for the
    same one the last counts.
    """
    last: dict[TimeoutKey, Timeout] = {}
    for timeout in asked:
        last.pop(timeout.key, None)  # So that it stands where it was asked for last.
        last[timeout.key] = timeout
    over = {Clock.EVENT, Clock.STATE} if changed else {Clock.EVENT}
    return TimeoutPlan(
        cancel=tuple(key for key in running if key in over or key in last),
        start=tuple(timeout for timeout in last.values() if timeout.seconds != math.inf),
    )
