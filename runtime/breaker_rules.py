"""The rules of the circuit breaker. Pure: state, moment and policy in, next state out.

No state is without an exit. `Closed` opens when a rule trips. `Open` ends at a moment drawn when it opened.
`HalfOpen` gives out a few permits with a deadline each: a probe decides by its result, or by not having one
in time. An `Override` has an end. Every change of state has a new generation, and a result is counted only in
the generation that admitted its call: what comes late changes nothing.

What time alone does is applied when somebody looks, but as of the moment when it was due: a probe's deadline, an
override's end, a hanging call that became slow. So it makes no difference when somebody looks.
"""

import enum
import math
import random
from typing import ClassVar, Final, TypeAlias, assert_never

import attrs

from resprout.runtime.breaker_policy import BreakerPolicy
from resprout.runtime.breaker_tally import Tally, count_end, count_speed, is_met

MAX_OVERRIDE: Final = 24 * 3600.0
MAX_DOUBLINGS: Final = 16  # Clamps the exponent: an unclamped one overflows in the end.


class Outcome(enum.Enum):
    """What a finished call says about the service; IGNORED and CANCELLED say nothing."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    CANCELLED = "cancelled"


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
    """What an operator wants: reject all; admit all; or admit all and only count how often it would open."""

    OPEN = "forced_open"
    CLOSED = "forced_closed"
    METRICS_ONLY = "metrics_only"


@attrs.frozen
class Override:
    """An operator decided, until *until*; then a probe finds out how things are.

    Under `METRICS_ONLY` *tally* is kept as if closed, and *trips* counts how often a rule was met.
    """

    generation: int
    since: float
    until: float
    openings: int
    force: Force
    by: str
    reason: str
    tally: Tally = Tally()
    trips: int = 0

    @property
    def name(self) -> str:
        """`forced_open`, `forced_closed` or `metrics_only`."""
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
    """The call must not run; a try makes sense in *retry_after* seconds, which are more than 0."""

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
            return state, Rejected(min(until for _, until in probes) - now)
        case HalfOpen():
            return _give_permit(state, now, policy)
        case Override(force=Force.OPEN, until=until):
            return state, Rejected(until - now)
        case Override(generation=generation):
            return state, Admitted(generation)
        case _:
            assert_never(state)


def is_calm(state: BreakerState, policy: BreakerPolicy) -> bool:
    """Whether calls pass and a success would change nothing, so that neither needs to be told."""
    return type(state) is Closed and not (state.tally.consecutive or policy.counts_all)


def settle(
    state: BreakerState,
    ticket: Admitted,
    outcome: Outcome,
    now: float,
    policy: BreakerPolicy,
    rng: random.Random,
    *,
    slow: bool | None = False,
) -> BreakerState:
    """Count the *outcome* of a call that was admitted with *ticket*; a late one changes nothing.

    *slow* is None for a call whose slowness was counted by `hang`.
    """
    state = expire(state, now, policy, rng)
    if ticket.generation != state.generation:
        return state
    match state:
        case HalfOpen():
            return _settle_probe(state, ticket, outcome, now, policy, rng, slow=bool(slow))
        case Closed() | Override(force=Force.METRICS_ONLY):
            if outcome in (Outcome.IGNORED, Outcome.CANCELLED):
                return state
            tally = count_end(state.tally, failed=outcome is Outcome.FAILURE, now=now, policy=policy)
            if slow is not None:
                tally = count_speed(tally, slow=slow, now=now, policy=policy)
            return _counted(state, tally, now, policy, rng)
        case Open() | Override():
            return state
        case _:
            assert_never(state)


def hang(
    state: BreakerState, ticket: Admitted, now: float, policy: BreakerPolicy, rng: random.Random
) -> BreakerState:
    """Count a call as slow at *now*, the moment it became slow; how it ends is counted when it does."""
    if ticket.generation != state.generation or not isinstance(state, Closed | Override):
        return state
    if isinstance(state, Override) and (state.force is not Force.METRICS_ONLY or state.until <= now):
        return state
    return _counted(state, count_speed(state.tally, slow=True, now=now, policy=policy), now, policy, rng)


def expire(state: BreakerState, now: float, policy: BreakerPolicy, rng: random.Random) -> BreakerState:
    """Apply what time alone does: a probe without a result in time has failed, an override ends."""
    match state:
        case HalfOpen(probes=probes) if probes and min(until for _, until in probes) <= now:
            return opened(state, min(until for _, until in probes), policy, rng)
        case Override(until=until) if until <= now:
            return half_open(state, until)
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
    drawn = min(middle, highest_middle) * rng.uniform(1 - policy.open_jitter, 1 + policy.open_jitter)
    return min(drawn, policy.open_cap)  # For the last digit of a quotient that was multiplied again.


def seen_alive(state: BreakerState, now: float) -> BreakerState:
    """A health probe around the breaker went well: try calls early, but never straight to closed."""
    return half_open(state, now) if isinstance(state, Open) else state


def overridden(
    state: BreakerState, now: float, force: Force, seconds: float, by: str, reason: str
) -> Override:
    """An operator takes over for *seconds*.

    Raises:
        ValueError: If *seconds* is not positive or is more than a day: an override always ends. Or if nobody
            says who decided, or why.
    """
    if not 0 < seconds <= MAX_OVERRIDE:
        raise ValueError(
            f"an override must last more than 0 and at most {MAX_OVERRIDE:g} s, not {seconds!r}; choose an end"
        )
    if not by.strip() or not reason.strip():
        raise ValueError(f"an override must say who and why, not by={by!r}, reason={reason!r}; name both")
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


def _counted(
    state: Closed | Override, tally: Tally, now: float, policy: BreakerPolicy, rng: random.Random
) -> BreakerState:
    if tally is state.tally:
        return state
    if not is_met(tally, now, policy):
        return attrs.evolve(state, tally=tally)
    if isinstance(state, Closed):
        return opened(state, now, policy, rng)
    return attrs.evolve(state, tally=Tally(), trips=state.trips + 1)
