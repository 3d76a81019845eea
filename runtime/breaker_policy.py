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
class FailureRateIn:
    """Trip when at least this *share* of the calls of the last *seconds* failed, of *min_calls* or more.

    Time passes in ten steps: what counts is between nine and ten tenths of *seconds* old at most.
    """

    share: float
    seconds: float = 60.0
    min_calls: int = 20


@attrs.frozen
class SlowRate:
    """Trip when this *share* of the last *calls* took *slow_after* seconds, once there were *min_calls*.

    A call that still hangs counts as soon as it is slow.
    """

    share: float
    slow_after: float
    calls: int = 100
    min_calls: int = 20


@attrs.frozen
class SlowRateIn:
    """Trip when this *share* of the calls of the last *seconds* took *slow_after* seconds, of *min_calls* or more.

    Time passes in ten steps, as in `FailureRateIn`; hanging calls count as in `SlowRate`.
    """

    share: float
    slow_after: float
    seconds: float = 60.0
    min_calls: int = 20


TripRule: TypeAlias = (
    Consecutive | FailuresOf | FailuresIn | FailureRate | FailureRateIn | SlowRate | SlowRateIn
)


def _slow_after(policy: "BreakerPolicy") -> float:
    slow = (rule.slow_after for rule in policy.trips if isinstance(rule, SlowRate | SlowRateIn))
    return next(slow, math.inf)


def _window(policy: "BreakerPolicy") -> int:
    windows = (r.calls for r in policy.trips if isinstance(r, FailuresOf | FailureRate | SlowRate))
    return max(windows, default=0)


def _spans(policy: "BreakerPolicy") -> tuple[float, ...]:
    spans = (r.seconds for r in policy.trips if isinstance(r, FailureRateIn | SlowRateIn))
    return tuple(dict.fromkeys(spans))


def _failure_times(policy: "BreakerPolicy") -> int:
    return max((rule.failures for rule in policy.trips if isinstance(rule, FailuresIn)), default=0)


def _counts_all(policy: "BreakerPolicy") -> bool:
    return bool(policy.window or policy.spans)


def _from(rule: "Callable[[BreakerPolicy], T]") -> T:
    """A default worked out of the policy's other fields; typed as its result, as attrs types its factories."""
    return attrs.Factory(rule, takes_self=True)


@attrs.frozen(kw_only=True)
class BreakerPolicy:
    """When to open, for how long, and how to try again.

    Attributes:
        trips: Rules of which any one opens the breaker.
        open_for: Seconds open the first time; doubles with each opening that follows too soon.
        open_cap: Never open longer than this, jitter included.
        open_jitter: Share by which the open time varies to both sides.
        reset_after: Seconds closed after which the open time starts again from *open_for*.
        half_open_max: Probes admitted at one time while half open.
        successes_to_close: Good probes in a row that close the breaker.
        probe_timeout: Seconds one probe may take; after that it has failed.
        slow_after: Seconds after which a call is slow; infinite if no rule asks.
        window: How many of the last calls the rules want remembered.
        spans: The lengths of the time windows that the rules want, in seconds.
        failure_times: How many of the last failures' moments the rules want remembered.
        counts_all: Whether the rules want successes counted too.

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
    spans: tuple[float, ...] = attrs.field(init=False, eq=False, repr=False, default=_from(_spans))
    failure_times: int = attrs.field(init=False, eq=False, repr=False, default=_from(_failure_times))
    counts_all: bool = attrs.field(init=False, eq=False, repr=False, default=_from(_counts_all))

    def __attrs_post_init__(self) -> None:
        for name in ("open_for", "open_cap", "reset_after", "probe_timeout"):
            _positive(name, getattr(self, name))
        for name in ("half_open_max", "successes_to_close"):
            _whole(name, getattr(self, name))
        if not 0 <= self.open_jitter < 1:
            raise ValueError(
                f"open_jitter must be at least 0 and less than 1, not {self.open_jitter!r}; leave it at 0.2"
            )
        if self.open_cap < self.open_for:
            raise ValueError(
                f"open_cap must be at least open_for: raise {self.open_cap:g} or lower {self.open_for:g}"
            )
        if not self.trips:
            raise ValueError("trips must hold at least one rule, not (); leave it out for five in a row")
        for rule in self.trips:
            _check_rule(rule)
        slow = {rule.slow_after for rule in self.trips if isinstance(rule, SlowRate | SlowRateIn)}
        if len(slow) > 1:
            raise ValueError(f"slow_after must be the same in all rules, not {sorted(slow)}; choose one")


def _check_rule(rule: TripRule) -> None:
    match rule:
        case Consecutive(failures=failures):
            _whole("failures", failures)
        case FailuresOf(failures=failures, calls=calls):
            _whole("failures", failures)
            _whole("calls", calls)
            _fits("failures", failures, calls)
        case FailuresIn(failures=failures, seconds=seconds):
            _whole("failures", failures)
            _positive("seconds", seconds)
        case FailureRate() | SlowRate():
            _rate(rule)
            _whole("calls", rule.calls)
            _fits("min_calls", rule.min_calls, rule.calls)
        case FailureRateIn() | SlowRateIn():
            _rate(rule)
            _positive("seconds", rule.seconds)
        case _:
            assert_never(rule)


def _rate(rule: FailureRate | FailureRateIn | SlowRate | SlowRateIn) -> None:
    if not 0 < rule.share <= 1:
        raise ValueError(
            f"share must be more than 0 and at most 1, not {rule.share!r}; 0.5 is half of the calls"
        )
    _whole("min_calls", rule.min_calls)
    if isinstance(rule, SlowRate | SlowRateIn):
        _positive("slow_after", rule.slow_after)


def _positive(name: str, seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} must be a positive, finite number of seconds, not {seconds!r}; choose one")


def _whole(name: str, count: int) -> None:
    if type(count) is not int or count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {count!r}; choose one")


def _fits(name: str, few: int, calls: int) -> None:
    if few > calls:
        raise ValueError(f"{name} must be at most calls, or it is never met: lower {few} or raise {calls}")


DEFAULT_BREAKER: Final = BreakerPolicy()
