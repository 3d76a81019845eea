"""What a closed circuit breaker remembers of its calls, and whether a rule says that this is too much. Pure.

How a call ended and how fast it was are counted apart, each at its own moment: a call that hangs is slow long
before anybody knows whether it failed. Nothing is remembered that no rule asks for.
"""

import math
from typing import Final, NamedTuple, assert_never

import attrs

from resprout.runtime.breaker_policy import (
    BreakerPolicy,
    Consecutive,
    FailureRate,
    FailureRateIn,
    FailuresIn,
    FailuresOf,
    SlowRate,
    SlowRateIn,
    TripRule,
)

BUCKETS: Final = 10


class Counts(NamedTuple):
    """Calls that ended and how many of them failed; calls whose speed is known and how many were slow."""

    ended: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0


@attrs.frozen
class Span:
    """The calls of the last so many seconds in ten buckets, the newest first; *step* numbers the newest."""

    step: int
    buckets: tuple[Counts, ...]


@attrs.frozen
class Tally:
    """Bit 0 of *failed* is the call that ended last, of *slow* the one whose speed is known last; 1 says yes."""

    consecutive: int = 0
    ended: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0
    failed_at: tuple[float, ...] = ()
    spans: tuple[Span, ...] = ()


def count_end(tally: Tally, *, failed: bool, now: float, policy: BreakerPolicy) -> Tally:
    """Add a call that has ended."""
    if not (failed or policy.counts_all or tally.consecutive):
        return tally
    window, times = policy.window, policy.failure_times
    return Tally(
        consecutive=tally.consecutive + 1 if failed else 0,
        ended=min(tally.ended + 1, window),
        failed=_shifted(tally.failed, failed, window),
        timed=tally.timed,
        slow=tally.slow,
        failed_at=(*tally.failed_at, now)[-times:] if failed and times else tally.failed_at,
        spans=_spans(tally, Counts(ended=1, failed=int(failed)), now, policy),
    )


def count_speed(tally: Tally, *, slow: bool, now: float, policy: BreakerPolicy) -> Tally:
    """Add a call of which it is known now whether it is slow."""
    if policy.slow_after == math.inf:
        return tally
    return Tally(
        consecutive=tally.consecutive,
        ended=tally.ended,
        failed=tally.failed,
        timed=min(tally.timed + 1, policy.window),
        slow=_shifted(tally.slow, slow, policy.window),
        failed_at=tally.failed_at,
        spans=_spans(tally, Counts(timed=1, slow=int(slow)), now, policy),
    )


def is_met(tally: Tally, now: float, policy: BreakerPolicy) -> bool:
    """Whether any rule of *policy* says that the service is down."""
    return any(_rule_is_met(rule, tally, now, policy) for rule in policy.trips)


def _rule_is_met(rule: TripRule, tally: Tally, now: float, policy: BreakerPolicy) -> bool:
    match rule:
        case Consecutive(failures=failures):
            return tally.consecutive >= failures
        case FailuresOf(failures=failures, calls=calls):
            return _ones(tally.failed, calls) >= failures
        case FailuresIn(failures=failures, seconds=seconds):
            return len(tally.failed_at) >= failures and tally.failed_at[-failures] >= now - seconds
        case FailureRate(share=share, calls=calls, min_calls=min_calls):
            return _reaches(share, _ones(tally.failed, calls), min(tally.ended, calls), min_calls)
        case SlowRate(share=share, calls=calls, min_calls=min_calls):
            return _reaches(share, _ones(tally.slow, calls), min(tally.timed, calls), min_calls)
        case FailureRateIn(share=share, seconds=seconds, min_calls=min_calls):
            seen = _sum(tally, seconds, now, policy)
            return _reaches(share, seen.failed, seen.ended, min_calls)
        case SlowRateIn(share=share, seconds=seconds, min_calls=min_calls):
            seen = _sum(tally, seconds, now, policy)
            return _reaches(share, seen.slow, seen.timed, min_calls)
        case _:
            assert_never(rule)


def _reaches(share: float, some: int, of: int, min_calls: int) -> bool:
    return of >= min_calls and some / of >= share  # A quotient: 0.55 * 100 is more than 55.


def _shifted(bits: int, newest: bool, window: int) -> int:
    return ((bits << 1) | newest) & ((1 << window) - 1)


def _ones(bits: int, calls: int) -> int:
    return (bits & ((1 << calls) - 1)).bit_count()


def _spans(tally: Tally, more: Counts, now: float, policy: BreakerPolicy) -> tuple[Span, ...]:
    before = tally.spans or tuple(Span(0, ()) for _ in policy.spans)
    return tuple(
        _added(moved_on(span, now, seconds), more) for span, seconds in zip(before, policy.spans, strict=True)
    )


def moved_on(span: Span, now: float, seconds: float) -> Span:
    """*span*, *seconds* long, as it is at *now*: what is too old has left it."""
    step = math.floor(now / (seconds / BUCKETS))
    if span.buckets and step <= span.step:
        return span
    fresh = min(step - span.step, BUCKETS) if span.buckets else 1
    return Span(step, ((Counts(),) * fresh + span.buckets)[:BUCKETS])


def _added(span: Span, more: Counts) -> Span:
    newest, *older = span.buckets
    return Span(span.step, (Counts(*map(int.__add__, newest, more)), *older))


def _sum(tally: Tally, seconds: float, now: float, policy: BreakerPolicy) -> Counts:
    if not tally.spans:
        return Counts()
    span = moved_on(tally.spans[policy.spans.index(seconds)], now, seconds)
    return Counts(*map(sum, zip(*span.buckets, strict=True)))
