"""The states of a connection, and the rules that lead from one to the next. Pure: no clock, no socket.

There is no state for "failed". In every state but `Stopped`, which is entered only on request, there is an
attempt that runs or a timer that is armed: `moves_by` says until when something must happen, and a
connection whose moment has passed is broken (`is_stuck`). Tests check this on every transition, the health
monitor checks it in production.

Each function is one event. An event that means nothing in a state leaves the state as it is: events from
links of the past arrive late, and must not harm the present one.
"""

import math
import random
from typing import ClassVar, TypeAlias, assert_never

import attrs

from resprout.actors.connection.policy import (
    CLEAN_PROBES_UNTIL_READY,
    MISSES_UNTIL_LOST,
    WANTED_SHARE,
    KeeperPolicy,
)
from resprout.runtime.backoff import delay


@attrs.frozen
class Connecting:
    """An attempt runs: open, handshake, first probe. *until* is its deadline, *failures* came before it."""

    name: ClassVar[str] = "connecting"
    since: float
    until: float
    failures: int = 0


@attrs.frozen
class Ready:
    """The link serves. *failures* came before it; they are forgotten once it has proved itself."""

    name: ClassVar[str] = "ready"
    since: float
    next_probe: float
    failures: int = 0


@attrs.frozen
class Degraded:
    """The link serves, but something is wrong with it: *why*. Probed often until it is clean, or lost."""

    name: ClassVar[str] = "degraded"
    since: float
    next_probe: float
    why: str
    failures: int = 0
    misses: int = 0
    clean: int = 0


@attrs.frozen
class BackingOff:
    """No link. *attempt* attempts in a row have failed, the next one starts at *until*.

    *wanted*: a caller has asked for the link meanwhile, and *until* is as near as that brings it.
    """

    name: ClassVar[str] = "backing_off"
    since: float
    attempt: int
    until: float
    wanted: bool = False


@attrs.frozen
class Draining:
    """Asked to stop: no new work, calls in flight may finish until *until*."""

    name: ClassVar[str] = "draining"
    since: float
    until: float


@attrs.frozen
class Stopped:
    """Ended on request. A restarted connection starts anew, in `Connecting`."""

    name: ClassVar[str] = "stopped"
    since: float


ConnectionState: TypeAlias = Connecting | Ready | Degraded | BackingOff | Draining | Stopped


def start(now: float, policy: KeeperPolicy, failures: int = 0) -> Connecting:
    """Begin an attempt."""
    return Connecting(since=now, until=now + policy.attempt_timeout, failures=failures)


def attempt_succeeded(
    state: ConnectionState, now: float, policy: KeeperPolicy, rng: random.Random
) -> ConnectionState:
    """Handshake and probe went well. The failures are kept until the link proves itself."""
    match state:
        case Connecting(failures=failures):
            return Ready(since=now, next_probe=now + probe_interval(policy, rng), failures=failures)
        case Ready() | Degraded() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def replaced(state: ConnectionState, now: float, policy: KeeperPolicy, rng: random.Random) -> ConnectionState:
    """A new link, which has passed handshake and probe, has taken the place of the live one."""
    match state:
        case Ready() | Degraded():
            failures = remembered_failures(state, now, policy)
            return Ready(since=now, next_probe=now + probe_interval(policy, rng), failures=failures)
        case Connecting() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def attempt_failed(
    state: ConnectionState, now: float, policy: KeeperPolicy, rng: random.Random
) -> ConnectionState:
    """The attempt ended in an error."""
    match state:
        case Connecting(failures=failures):
            return back_off(now, failures + 1, policy, rng)
        case Ready() | Degraded() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def link_lost(
    state: ConnectionState, now: float, policy: KeeperPolicy, rng: random.Random
) -> ConnectionState:
    """The link died. Counts as one more failure unless it had proved itself: then the count starts at one."""
    match state:
        case Ready() | Degraded():
            return back_off(now, remembered_failures(state, now, policy) + 1, policy, rng)
        case Draining():
            return Stopped(since=now)
        case Connecting() | BackingOff() | Stopped():
            return state
        case _:
            assert_never(state)


def back_off(now: float, failures: int, policy: KeeperPolicy, rng: random.Random) -> BackingOff:
    """Wait before the next attempt, after *failures* failures in a row."""
    return BackingOff(since=now, attempt=failures, until=now + delay(policy.backoff, failures, rng))


def remembered_failures(state: Ready | Degraded, now: float, policy: KeeperPolicy) -> int:
    """The failures that still count against a link: none after it was up for `policy.stable_after`."""
    return 0 if now - state.since >= policy.stable_after else state.failures


def proved(state: ConnectionState) -> ConnectionState:
    """A real reply came over the link: what failed before it is forgotten."""
    match state:
        case Ready() | Degraded():
            return attrs.evolve(state, failures=0) if state.failures else state
        case Connecting() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def probe_answered(
    state: ConnectionState, now: float, policy: KeeperPolicy, rng: random.Random
) -> ConnectionState:
    """A probe came back right. The second clean one in a row makes a degraded link ready."""
    match state:
        case Ready():
            return attrs.evolve(
                state,
                next_probe=now + probe_interval(policy, rng),
                failures=remembered_failures(state, now, policy),
            )
        case Degraded(clean=clean) if clean + 1 >= CLEAN_PROBES_UNTIL_READY:
            failures = remembered_failures(state, now, policy)
            return Ready(since=now, next_probe=now + probe_interval(policy, rng), failures=failures)
        case Degraded(clean=clean):
            return attrs.evolve(
                state, clean=clean + 1, misses=0, next_probe=now + policy.degraded_probe_every
            )
        case Connecting() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def probe_missed(
    state: ConnectionState, now: float, policy: KeeperPolicy, rng: random.Random, why: str
) -> ConnectionState:
    """A probe failed or came too late. It is repeated at once; the second miss in a row loses the link."""
    match state:
        case Ready():
            failures = remembered_failures(state, now, policy)
            return Degraded(since=now, next_probe=now, why=why, failures=failures, misses=1)
        case Degraded(misses=misses) if misses + 1 >= MISSES_UNTIL_LOST:
            return link_lost(state, now, policy, rng)
        case Degraded(misses=misses):
            return attrs.evolve(state, misses=misses + 1, clean=0, next_probe=now, why=why)
        case Connecting() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def impaired(state: ConnectionState, now: float, policy: KeeperPolicy, why: str) -> ConnectionState:
    """The owner saw that the link works only in part, for instance that it is read-only."""
    match state:
        case Ready():
            failures = remembered_failures(state, now, policy)
            return Degraded(
                since=now, next_probe=now + policy.degraded_probe_every, why=why, failures=failures
            )
        case Degraded():
            return attrs.evolve(state, why=why, clean=0)
        case Connecting() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def retry_due(state: ConnectionState, now: float, policy: KeeperPolicy) -> ConnectionState:
    """The timer rang: try again, unless it was put off since."""
    match state:
        case BackingOff(attempt=attempt, until=until) if now >= until:
            return start(now, policy, failures=attempt)
        case Connecting() | Ready() | Degraded() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def nudged(state: ConnectionState, now: float, policy: KeeperPolicy, last_nudge: float) -> ConnectionState:
    """Somebody has reason to think that the remote is back. Never puts an attempt off, never causes a storm.

    Args:
        state: Where the connection is.
        now: The present moment.
        policy: `nudge_every` is the least time between two attempts brought forward.
        last_nudge: When a nudge last brought an attempt forward; minus infinity if never.
    """
    match state:
        case BackingOff(until=until):
            earliest = max(now, last_nudge + policy.nudge_every)
            return state if earliest >= until else attrs.evolve(state, until=earliest)
        case Connecting() | Ready() | Degraded() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def wanted(
    state: ConnectionState,
    now: float,
    policy: KeeperPolicy,
    last_nudge: float,
    down_since: float,
    rng: random.Random,
) -> ConnectionState:
    """A caller asks for the link. Shortens a wait to a tenth of the outage, or `nudge_every` if that is more.

    So who waits for a service waits little longer than the outage itself. It counts once in each wait, so many
    callers cause no more attempts than one; and it is drawn, so that many programs do not come back together.

    Args:
        state: Where the connection is.
        now: The present moment.
        policy: `nudge_every` is the least time between two attempts brought forward.
        last_nudge: When an attempt was last brought forward; minus infinity if never.
        down_since: When the outage began.
        rng: Source of the jitter.
    """
    match state:
        case BackingOff(since=since, until=until, wanted=False):
            longest = max(policy.nudge_every, (now - down_since) * WANTED_SHARE)
            drawn = since + max(policy.backoff.floor, rng.uniform(0.0, longest))
            at = max(now, drawn, last_nudge + longest)
            return attrs.evolve(state, until=min(until, at), wanted=True)
        case Connecting() | Ready() | Degraded() | BackingOff() | Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def drain_asked(state: ConnectionState, now: float, policy: KeeperPolicy) -> ConnectionState:
    """Stop on request: a link in use may finish its work, without a link there is nothing to wait for."""
    match state:
        case Ready() | Degraded():
            return Draining(since=now, until=now + policy.drain_timeout)
        case Connecting() | BackingOff():
            return Stopped(since=now)
        case Draining() | Stopped():
            return state
        case _:
            assert_never(state)


def stopped(state: ConnectionState, now: float) -> ConnectionState:
    """The connection's owner ended it, or its last call in flight is done."""
    return state if isinstance(state, Stopped) else Stopped(since=now)


def moves_by(state: ConnectionState, policy: KeeperPolicy) -> float:
    """The moment by which a living connection has moved on or been found well; infinite for `Stopped`."""
    match state:
        case Connecting(until=until) | BackingOff(until=until) | Draining(until=until):
            return until + policy.close_timeout
        case Ready(next_probe=next_probe) | Degraded(next_probe=next_probe):
            return next_probe + policy.probe_timeout
        case Stopped():
            return math.inf
        case _:
            assert_never(state)


def is_stuck(state: ConnectionState, now: float, policy: KeeperPolicy, slack: float = 5.0) -> bool:
    """Whether nothing runs and no timer is armed where one must be: a bug in us, never the remote's fault.

    *slack* allows for a busy event loop.
    """
    return now > moves_by(state, policy) + slack


def retry_after(state: ConnectionState, now: float) -> float | None:
    """Seconds after which another try makes sense; None if this connection will never serve again.

    While an attempt runs the answer is a guess, a quarter of a second: most attempts are short.
    """
    match state:
        case Connecting(until=until):
            return max(0.0, min(until - now, 0.25))
        case BackingOff(until=until) | Draining(until=until):
            return max(0.0, until - now)
        case Ready() | Degraded():
            return 0.0
        case Stopped():
            return None
        case _:
            assert_never(state)


def probe_interval(policy: KeeperPolicy, rng: random.Random) -> float:
    """Seconds to the next probe of a ready link."""
    return policy.probe_every * rng.uniform(1 - policy.probe_jitter, 1 + policy.probe_jitter)
