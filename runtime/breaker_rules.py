"""The rules of the circuit breaker. Pure: state, moment and policy in, next state out.

No state is without an exit. `Closed` opens when a rule trips. `Open` ends at a moment drawn when it opened.
`HalfOpen` gives out a few permits with a deadline each: a probe decides by its result, or by not having one
in time. An `Override` has an end. Every change of state has a new generation, and a result is counted only in
the generation that admitted its call: what comes late changes nothing.
"""

import enum
import math
import random
from typing import ClassVar, Final, TypeAlias, assert_never

import attrs

from resprout.runtime.breaker_policy import (
    BreakerPolicy,
    Consecutive,
    FailureRate,
    FailuresIn,
    FailuresOf,
    SlowRate,
    TripRule,
)

MAX_OVERRIDE: Final = 24 * 3600.0
MAX_DOUBLINGS: Final = 16  # Clamps the exponent: an unclamped one overflows in the end.


class Outcome(enum.Enum):
    """What a finished call says about the service; IGNORED and CANCELLED say nothing."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    CANCELLED = "cancelled"


@attrs.frozen
class Tally:
    """What a closed breaker remembers: bit 0 of *failed* and *slow* is the last call, 1 says yes."""

    consecutive: int = 0
    calls: int = 0
    failed: int = 0
    slow: int = 0
    failed_at: tuple[float, ...] = ()


@attrs.frozen
class Closed:
    """Calls pass. *openings* in a row came before; they count while less than `reset_after` has passed."""

    name: ClassVar[str] = "closed"
    generation: int = 0
    since: float = -math.inf
    openings: int = 0
    tally: Tally = Tally()


@attrs.frozen
class Open:
    """Calls are rejected until *until*."""

    name: ClassVar[str] = "open"
    generation: int
    since: float
    until: float
    openings: int


@attrs.frozen
class HalfOpen:
    """A few calls pass as probes; *probes* maps each permit out there to its deadline."""

    name: ClassVar[str] = "half_open"
    generation: int
    since: float
    openings: int
    probes: tuple[tuple[int, float], ...] = ()
    successes: int = 0
    next_permit: int = 1


class Force(enum.Enum):
    """What an operator wants: reject all, or admit all (calls are still counted)."""

    OPEN = "forced_open"
    CLOSED = "forced_closed"


@attrs.frozen
class Override:
    """An operator decided, until *until*; then a probe finds out how things are."""

    generation: int
    since: float
    until: float
    openings: int
    force: Force
    by: str
    reason: str

    @property
    def name(self) -> str:
        """`forced_open` or `forced_closed`."""
        return self.force.value


BreakerState: TypeAlias = Closed | Open | HalfOpen | Override


@attrs.frozen
class Admitted:
    """The call may run; *permit* is set if it is a probe, which must end by *until*."""

    generation: int
    permit: int | None = None
    until: float = math.inf


@attrs.frozen
class Rejected:
    """The call must not run; a try makes sense in *retry_after* seconds."""

    retry_after: float


def admit(
    state: BreakerState, now: float, policy: BreakerPolicy, rng: random.Random
) -> tuple[BreakerState, Admitted | Rejected]:
    """May a call pass now?"""
    state = expire(state, now, policy, rng)
    match state:
        case Closed(generation=generation):
            return state, Admitted(generation)
        case Open(until=until) if now < until:
            return state, Rejected(until - now)
        case Open():
            return _give_permit(half_open(state, now), now, policy)
        case HalfOpen(probes=probes) if len(probes) >= policy.half_open_max:
            return state, Rejected(max(0.0, min(until for _, until in probes) - now))
        case HalfOpen():
            return _give_permit(state, now, policy)
        case Override(force=Force.OPEN, until=until):
            return state, Rejected(until - now)
        case Override(generation=generation):
            return state, Admitted(generation)
        case _:
            assert_never(state)


def settle(
    state: BreakerState,
    ticket: Admitted,
    outcome: Outcome,
    now: float,
    policy: BreakerPolicy,
    rng: random.Random,
    *,
    slow: bool = False,
) -> BreakerState:
    """Count the *outcome* of a call that was admitted with *ticket*; a late one changes nothing."""
    state = expire(state, now, policy, rng)
    if ticket.generation != state.generation:
        return state
    match state:
        case Closed():
            return _settle_closed(state, outcome, now, policy, rng, slow=slow)
        case HalfOpen():
            return _settle_probe(state, ticket, outcome, now, policy, rng, slow=slow)
        case Open() | Override():
            return state
        case _:
            assert_never(state)


def expire(state: BreakerState, now: float, policy: BreakerPolicy, rng: random.Random) -> BreakerState:
    """Apply what time alone does: a probe without a result in time has failed, an override ends."""
    match state:
        case HalfOpen(probes=probes) if any(until <= now for _, until in probes):
            return opened(state, now, policy, rng)
        case Override(until=until) if until <= now:
            return half_open(state, now)
        case Closed() | Open() | HalfOpen() | Override():
            return state
        case _:
            assert_never(state)


def half_open(state: BreakerState, now: float) -> HalfOpen:
    """Let probes decide."""
    return HalfOpen(generation=state.generation + 1, since=now, openings=state.openings)


def opened(state: BreakerState, now: float, policy: BreakerPolicy, rng: random.Random) -> Open:
    """Open once more; a breaker that was closed long enough starts with the shortest time again."""
    forgiven = isinstance(state, Closed) and now - state.since >= policy.reset_after
    openings = 1 if forgiven else state.openings + 1
    return Open(
        generation=state.generation + 1,
        since=now,
        until=now + open_time(policy, openings, rng),
        openings=openings,
    )


def open_time(policy: BreakerPolicy, openings: int, rng: random.Random) -> float:
    """Seconds to stay open the *openings*-th time in a row; with its jitter never more than the cap."""
    middle = policy.open_for * 2.0 ** min(openings - 1, MAX_DOUBLINGS)
    highest_middle = policy.open_cap / (1 + policy.open_jitter)
    return min(middle, highest_middle) * rng.uniform(1 - policy.open_jitter, 1 + policy.open_jitter)


def seen_alive(state: BreakerState, now: float) -> BreakerState:
    """A health probe around the breaker went well: try calls early, but never straight to closed."""
    return half_open(state, now) if isinstance(state, Open) else state


def overridden(
    state: BreakerState, now: float, force: Force, seconds: float, by: str, reason: str
) -> Override:
    """An operator takes over for *seconds*.

    Raises:
        ValueError: If *seconds* is not positive or is more than a day: an override always ends.
    """
    if not 0 < seconds <= MAX_OVERRIDE:
        raise ValueError(f"an override must last more than 0 and at most {MAX_OVERRIDE:g} s, not {seconds}")
    return Override(
        generation=state.generation + 1,
        since=now,
        until=now + seconds,
        openings=state.openings,
        force=force,
        by=by,
        reason=reason,
    )


def released(state: BreakerState, now: float) -> BreakerState:
    """An operator gives the breaker back before the override ends."""
    return half_open(state, now) if isinstance(state, Override) else state


def _give_permit(
    state: HalfOpen, now: float, policy: BreakerPolicy
) -> tuple[BreakerState, Admitted | Rejected]:
    permit, until = state.next_permit, now + policy.probe_timeout
    probing = attrs.evolve(state, probes=(*state.probes, (permit, until)), next_permit=permit + 1)
    return probing, Admitted(state.generation, permit, until)


def _settle_probe(
    state: HalfOpen,
    ticket: Admitted,
    outcome: Outcome,
    now: float,
    policy: BreakerPolicy,
    rng: random.Random,
    *,
    slow: bool,
) -> BreakerState:
    rest = tuple(probe for probe in state.probes if probe[0] != ticket.permit)
    if len(rest) == len(state.probes):
        return state
    if outcome in (Outcome.IGNORED, Outcome.CANCELLED):
        return attrs.evolve(state, probes=rest)
    if outcome is Outcome.FAILURE or slow:
        return opened(state, now, policy, rng)
    if state.successes + 1 >= policy.successes_to_close:
        return Closed(generation=state.generation + 1, since=now, openings=state.openings)
    return attrs.evolve(state, probes=rest, successes=state.successes + 1)


def _settle_closed(
    state: Closed, outcome: Outcome, now: float, policy: BreakerPolicy, rng: random.Random, *, slow: bool
) -> BreakerState:
    if outcome in (Outcome.IGNORED, Outcome.CANCELLED):
        return state
    tally = counted(state.tally, failed=outcome is Outcome.FAILURE, slow=slow, now=now, policy=policy)
    if (outcome is Outcome.FAILURE or slow) and any(is_met(rule, tally, now) for rule in policy.trips):
        return opened(state, now, policy, rng)
    return state if tally is state.tally else attrs.evolve(state, tally=tally)


def counted(tally: Tally, *, failed: bool, slow: bool, now: float, policy: BreakerPolicy) -> Tally:
    """Add one call. Nothing is kept that no rule asks for, so a success usually costs nothing."""
    window, times = policy.window, policy.failure_times
    if not (failed or window or tally.consecutive):
        return tally
    mask = (1 << window) - 1
    return Tally(
        consecutive=tally.consecutive + 1 if failed else 0,
        calls=min(tally.calls + 1, window),
        failed=((tally.failed << 1) | failed) & mask,
        slow=((tally.slow << 1) | slow) & mask,
        failed_at=(*tally.failed_at, now)[-times:] if failed and times else tally.failed_at,
    )


def is_met(rule: TripRule, tally: Tally, now: float) -> bool:
    """Whether *rule* says that the service is down."""
    match rule:
        case Consecutive(failures=failures):
            return tally.consecutive >= failures
        case FailuresOf(failures=failures, calls=calls):
            return _ones(tally.failed, calls) >= failures
        case FailuresIn(failures=failures, seconds=seconds):
            return len(tally.failed_at) >= failures and tally.failed_at[-failures] >= now - seconds
        case FailureRate(share=share, calls=calls, min_calls=min_calls):
            seen = min(tally.calls, calls)
            return seen >= min_calls and _ones(tally.failed, calls) >= share * seen
        case SlowRate(share=share, calls=calls, min_calls=min_calls):
            seen = min(tally.calls, calls)
            return seen >= min_calls and _ones(tally.slow, calls) >= share * seen
        case _:
            assert_never(rule)


def _ones(bits: int, calls: int) -> int:
    return (bits & ((1 << calls) - 1)).bit_count()
