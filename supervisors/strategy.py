"""Which children end and begin together when one of them has ended: pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, assert_never

import attrs

from resprout.runtime import Crashed, Ignored, Killed, Normal, Shutdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resprout.runtime import ExitReason


class Strategy(enum.Enum):
    """Which children restart together."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class RestartType(enum.Enum):
    """After which ends a child is started again."""

    PERMANENT = "permanent"  # After every end.
    TRANSIENT = "transient"  # After an unclean end: a crash or a kill.
    TEMPORARY = "temporary"  # Never.


ONE_FOR_ONE: Final = Strategy.ONE_FOR_ONE
ONE_FOR_ALL: Final = Strategy.ONE_FOR_ALL
REST_FOR_ONE: Final = Strategy.REST_FOR_ONE
PERMANENT: Final = RestartType.PERMANENT
TRANSIENT: Final = RestartType.TRANSIENT
TEMPORARY: Final = RestartType.TEMPORARY


@attrs.frozen
class GroupRestart:
    """Stop the children *stop* in this order, then start *start* in this order."""

    stop: tuple[str, ...]
    start: tuple[str, ...]


def plan_restart(strategy: Strategy, order: Sequence[str], failed: str) -> GroupRestart:
    """Who stops and starts because *failed* has ended.

    Args:
        strategy: The supervisor's.
        order: Ids of all children, in start order.
        failed: The one that ended; it is dead already.

    >>> plan_restart(REST_FOR_ONE, ["a", "b", "c"], "b")
    GroupRestart(stop=('c',), start=('b', 'c'))
    """
    match strategy:
        case Strategy.ONE_FOR_ONE:
            group: Sequence[str] = [failed]
        case Strategy.ONE_FOR_ALL:
            group = order
        case Strategy.REST_FOR_ONE:
            group = order[list(order).index(failed) :]
        case _:
            assert_never(strategy)
    return GroupRestart(stop=tuple(id for id in reversed(group) if id != failed), start=tuple(group))


def should_restart(restart: RestartType, reason: ExitReason) -> bool:
    """Whether a child of this type is started again after ending with *reason*, which nobody ordered.

    Not one that declined to start, whatever its type: it would decline again and again.

    >>> should_restart(TRANSIENT, Normal())
    False
    """
    if isinstance(reason, Ignored):
        return False
    match restart:
        case RestartType.PERMANENT:
            return True
        case RestartType.TRANSIENT:
            return not is_clean(reason)
        case RestartType.TEMPORARY:
            return False
        case _:
            assert_never(restart)


def is_clean(reason: ExitReason) -> bool:
    """Normal and Shutdown are clean ends; a kill, as in OTP, is not."""
    return isinstance(reason, Normal | Shutdown)


def is_expected(restart: RestartType, reason: ExitReason, *, ordered: bool, brutal: bool) -> bool:
    """Whether an end is as it should be, or to be reported: OTP's table of accepted reasons.

    Args:
        restart: The child's.
        reason: How it ended.
        ordered: Whether it was told to stop. Else it ended by itself, and what follows is told by a restart.
        brutal: Whether its shutdown is `BRUTAL_KILL`.

    >>> is_expected(PERMANENT, Normal(), ordered=True, brutal=False)
    False
    """
    match reason:
        case Crashed():
            return False
        case Killed():
            return ordered and brutal
        case Ignored():
            return True
        case Normal():
            return not ordered or restart is not RestartType.PERMANENT
        case Shutdown():
            return not (ordered and brutal) or restart is not RestartType.PERMANENT
        case _:
            assert_never(reason)
