"""When a circuit breaker opens, for how long, and how it tries again: numbers that are checked when made."""

import math
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar, assert_never

import attrs

T = TypeVar("T")


@attrs.frozen
class Consecutive:
    """Trip at so many *failures* in a row."""

    failures: int = 5


@attrs.frozen
class FailuresOf:
    """Trip at so many *failures* among the last *calls*."""

    failures: int
    calls: int


@attrs.frozen
class FailuresIn:
    """Trip at so many *failures* within *seconds*."""

    failures: int
    seconds: float


@attrs.frozen
class FailureRate:
    """Trip when at least this *share* of the last *calls* failed, once there were *min_calls*."""

    share: float
    calls: int = 100
    min_calls: int = 20


@attrs.frozen
class SlowRate:
    """Trip when this *share* of the last *calls* took *slow_after* seconds, once there were *min_calls*."""

    share: float
    slow_after: float
    calls: int = 100
    min_calls: int = 20


TripRule: TypeAlias = Consecutive | FailuresOf | FailuresIn | FailureRate | SlowRate


def _slow_after(policy: "BreakerPolicy") -> float:
    return next((rule.slow_after for rule in policy.trips if isinstance(rule, SlowRate)), math.inf)


def _window(policy: "BreakerPolicy") -> int:
    windows = (r.calls for r in policy.trips if isinstance(r, FailuresOf | FailureRate | SlowRate))
    return max(windows, default=0)


def _failure_times(policy: "BreakerPolicy") -> int:
    return max((rule.failures for rule in policy.trips if isinstance(rule, FailuresIn)), default=0)


def _from(rule: "Callable[[BreakerPolicy], T]") -> T:
    """A default worked out of the policy's other fields; typed as its result, as attrs types its factories."""
    return attrs.Factory(rule, takes_self=True)


@attrs.frozen(kw_only=True)
class BreakerPolicy:
    """When to open, for how long, and how to try again.

    Attributes:
        trips: Rules of which any one opens the breaker; at most one of them a `SlowRate`.
        open_for: Seconds open the first time; doubles with each opening that follows too soon.
        open_cap: Never open longer than this, jitter included.
        open_jitter: Share by which the open time varies to both sides.
        reset_after: Seconds closed after which the open time starts again from *open_for*.
        half_open_max: Probes admitted at one time while half open.
        successes_to_close: Good probes in a row that close the breaker.
        probe_timeout: Seconds one probe may take; after that it has failed.
        slow_after: Seconds after which a call is slow; infinite if no rule asks.
        window: How many of the last calls the rules want remembered.
        failure_times: How many of the last failures' moments the rules want remembered.

    Raises:
        ValueError: If a number is negative, not finite, out of range, or zero.
    """

    trips: tuple[TripRule, ...] = (Consecutive(),)
    open_for: float = 30.0
    open_cap: float = 120.0
    open_jitter: float = 0.2
    reset_after: float = 30.0
    half_open_max: int = 1
    successes_to_close: int = 1
    probe_timeout: float = 10.0

    # What the rules ask for, worked out once, since every call needs it.
    slow_after: float = attrs.field(init=False, eq=False, repr=False, default=_from(_slow_after))
    window: int = attrs.field(init=False, eq=False, repr=False, default=_from(_window))
    failure_times: int = attrs.field(init=False, eq=False, repr=False, default=_from(_failure_times))

    def __attrs_post_init__(self) -> None:
        for name in ("open_for", "open_cap", "reset_after", "probe_timeout"):
            _positive(name, getattr(self, name))
        if self.open_cap < self.open_for * (1 + self.open_jitter):
            raise ValueError(f"open_cap must be at least open_for with its jitter: {self}")
        if not 0 <= self.open_jitter < 1:
            raise ValueError(f"open_jitter must be at least 0 and less than 1, not {self.open_jitter}")
        if self.half_open_max < 1 or self.successes_to_close < 1:
            raise ValueError(f"half_open_max and successes_to_close must be at least 1: {self}")
        if not self.trips:
            raise ValueError("trips must hold at least one rule")
        for rule in self.trips:
            _check_rule(rule)
        if sum(isinstance(rule, SlowRate) for rule in self.trips) > 1:
            raise ValueError("trips must hold at most one SlowRate")


def _check_rule(rule: TripRule) -> None:
    match rule:
        case Consecutive(failures=failures):
            ok = failures >= 1
        case FailuresOf(failures=failures, calls=calls):
            ok = 1 <= failures <= calls
        case FailuresIn(failures=failures, seconds=seconds):
            _positive("seconds", seconds)
            ok = failures >= 1
        case FailureRate(share=share, calls=calls, min_calls=min_calls):
            ok = 0 < share <= 1 and 1 <= min_calls <= calls
        case SlowRate(share=share, slow_after=slow_after, calls=calls, min_calls=min_calls):
            _positive("slow_after", slow_after)
            ok = 0 < share <= 1 and 1 <= min_calls <= calls
        case _:
            assert_never(rule)
    if not ok:
        raise ValueError(f"a trip rule must be possible to meet, and not by nothing: {rule}")


def _positive(name: str, seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} must be a positive, finite number of seconds, not {seconds}")


DEFAULT_BREAKER: Final = BreakerPolicy()
