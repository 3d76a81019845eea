"""The circuit breaker: stop calling a service that fails, and find out by itself when it works again.

    breaker = CircuitBreaker("billing")
    async with breaker:                 # raises CircuitOpen(retry_after) without running the call
        await charge(order)

Works in any trio program, around any async call; an actor takes its breaker from the registry (`breakers`),
where it survives the actor's restarts. The call's own error always comes out as it is; only calls that were not
admitted see `CircuitOpen`. A cancelled call says nothing about the service, a business error (any `ReplyError`
that is not a `ServiceError`) says that the service lives, a programming error says nothing: see `judge`.

All time is `trio.current_time()`. The rules are pure and live in `resprout.runtime.breaker_rules`.
"""

import math
import random as randomness
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

import trio

import resprout.runtime.breaker_rules as rules
from resprout.runtime.breaker_events import Audience, BreakerChanged, BreakerStats, Listener
from resprout.runtime.breaker_judge import Judge, judge
from resprout.runtime.breaker_policy import DEFAULT_BREAKER, BreakerPolicy
from resprout.runtime.breaker_rules import (
    Admitted,
    BreakerState,
    Closed,
    Force,
    Open,
    Outcome,
    Override,
    Rejected,
)
from resprout.runtime.breaker_ticket import Ticket
from resprout.runtime.errors import CircuitOpen
from resprout.runtime.events import Event
from resprout.runtime.telling import sentence

P = ParamSpec("P")
R = TypeVar("R")

OVERRIDE_SECONDS: Final = 600.0
OPEN_NAMES: Final = (Open.name, Force.OPEN.value)


class CircuitBreaker:
    """Guards the calls to one service. Belongs to one trio run; needs no lock, no task and no closing.

    Args:
        service: Name in errors and events.
        policy: When it trips, how long it stays open, how it probes.
        random: Source of jitter; one of its own if left out.
        emit: Takes `BreakerChanged`; called at once after the change, must not block. See also `subscribe`.
        actor: Path of the owner, for the events.
        judge: What an error says about the service.
        judge_result: What a result says, where some results are failures, such as a response of status 503.

    Attributes:
        calm: Closed, and a success would change nothing. Who reads True before a call may make it without a
            ticket, noting `generation`. After it `report` is told: an error always, a success only if no longer
            calm.
        generation: Number of the present state.
        stats: Figures for metrics.
        last_error: The last failure of the present trouble; None when that is over.
    """

    def __init__(
        self,
        service: str,
        policy: BreakerPolicy = DEFAULT_BREAKER,
        *,
        random: randomness.Random | None = None,
        emit: Callable[[Event], None] | None = None,
        actor: str = "",
        judge: Judge = judge,
        judge_result: Callable[[object], Outcome] | None = None,
    ) -> None:
        self.service, self.policy, self.actor = service, policy, actor
        self.judge, self.judge_result = judge, judge_result
        self.stats = BreakerStats()
        self.last_error: BaseException | None = None
        self.audience = Audience(service, emit)
        self._random = random or randomness.Random()
        self._watches_speed = policy.slow_after < math.inf
        self._hanging: dict[Ticket, None] = {}
        self._inside: dict[trio.lowlevel.Task, Ticket] = {}
        self._state: BreakerState = Closed()
        self.generation = self._state.generation
        self._pass = Admitted(self.generation)
        self.calm = rules.is_calm(self._state, policy)

    @property
    def state(self) -> BreakerState:
        """The present state. An `Open` whose time is over stays `Open` until the next call or probe comes."""
        self._let_time_pass(trio.current_time())
        return self._state

    def rejection(self) -> CircuitOpen | None:
        """The error that a call would get now, without making one; None if it would be admitted."""
        _, answer = rules.admit(self.state, trio.current_time(), self.policy, self._random)
        return self._rejection(answer.retry_after) if isinstance(answer, Rejected) else None

    def seconds_open(self) -> float:
        """Seconds spent `open` or `forced_open` up to now; only ever growing."""
        now_open = self.state.name in OPEN_NAMES
        return self.stats.open_seconds + (trio.current_time() - self._state.since if now_open else 0.0)

    def admit(self) -> Ticket:
        """Ask to make one call. Use the ticket in a ``with`` block, or settle it yourself, exactly once.

        Raises:
            CircuitOpen: The call must not be made; nothing was sent. Come back after `retry_after` seconds.
        """
        if self.calm:  # By far the most frequent case; when it began matters to nobody.
            return Ticket(self, self._pass, 0.0)
        now = trio.current_time()
        if self._hanging:
            self._count_hanging_calls(now)
        state = self._state
        if type(state) is Open and now < state.until:  # The frequent case when things are bad.
            self.stats.rejected += 1
            raise self._rejection(state.until - now)
        self._let_time_pass(now)
        after, answer = rules.admit(self._state, now, self.policy, self._random)
        self._move(after, "trying again")
        if isinstance(answer, Rejected):
            self.stats.rejected += 1
            raise self._rejection(answer.retry_after)
        ticket = Ticket(self, answer, now)
        if self._watches_speed and answer.permit is None:
            self._hanging[ticket] = None
        return ticket

    async def call(self, fn: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``await fn(*args, **kwargs)`` behind the breaker; raises what it raises, or `CircuitOpen`."""
        with self.admit() as ticket:
            result = await fn(*args, **kwargs)
            if self.judge_result is not None:
                ticket.returned(result)
            return result

    def guard(self, fn: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[object, object, R]]:
        """Decorate an async function: each call of it is a `call` behind the breaker."""

        @wraps(fn)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self.call(fn, *args, **kwargs)

        return guarded

    async def __aenter__(self) -> Ticket:
        """Like ``with breaker.admit()``, a ticket for each entry. No checkpoint."""
        ticket = self.admit()
        task = trio.lowlevel.current_task()
        ticket.outer = self._inside.get(task)
        self._inside[task] = ticket
        return ticket.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = trio.lowlevel.current_task()
        ticket = self._inside.pop(task, None)
        if ticket is None:
            raise RuntimeError(
                f"async with on the breaker of {self.service} was left by a task that did not enter it; "
                "use `with breaker.admit()` where a block may change its task"
            )
        if ticket.outer is not None:
            self._inside[task] = ticket.outer
        ticket.__exit__(kind, error, trace)

    def report(self, error: BaseException | None, generation: int) -> None:
        """Tell how a call without a ticket ended, one that began while `calm`, in *generation*."""
        ticket = Ticket(self, Admitted(generation), trio.current_time())
        if error is None:
            ticket.succeeded()
        else:
            ticket.failed(error)

    def seen_alive(self) -> None:
        """Somebody reached the service in another way: let a probe through now instead of waiting."""
        self._move(rules.seen_alive(self.state, trio.current_time()), "the service was seen alive")

    def force(self, force: Force, *, by: str, reason: str, seconds: float = OVERRIDE_SECONDS) -> None:
        """Take over for *seconds*; then a probe decides. For operators.

        Raises:
            ValueError: If *seconds* is not positive or more than a day, or *by* or *reason* is empty.
        """
        now = trio.current_time()
        self._move(rules.overridden(self.state, now, force, seconds, by, reason), f"{by}: {reason}")

    def release(self) -> None:
        """End an operator's override now; a probe decides how to go on."""
        self._move(rules.released(self.state, trio.current_time()), "released")

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* soon after each change, outside of any call; returns a function that ends it.

        One that raises is removed, and the log says so. At most 100 changes wait, then `stats.unheard` grows.
        """
        return self.audience.subscribe(listener)

    def settle(self, ticket: Ticket, outcome: Outcome, error: BaseException | None) -> None:
        """Count the end of a call. For tickets, which see to it that each is counted once."""
        now = trio.current_time()
        self._let_time_pass(now)
        slow = ticket.counted_slow
        if self._watches_speed:
            self._hanging.pop(ticket, None)
            if ticket.is_probe and now - ticket.began >= self.policy.slow_after:
                slow = True
                self.stats.slow += 1
        self._count(outcome)
        if ticket.answer.generation != self.generation:
            self.stats.late += 1
            return
        if outcome is Outcome.FAILURE:
            self.last_error = error
        known = None if ticket.counted_slow else slow
        after = rules.settle(self._state, ticket.answer, outcome, now, self.policy, self._random, slow=known)
        self._move(after, _why(outcome, error))

    def _count(self, outcome: Outcome) -> None:
        match outcome:
            case Outcome.SUCCESS:
                self.stats.succeeded += 1
            case Outcome.FAILURE:
                self.stats.failed += 1
            case Outcome.IGNORED:
                self.stats.ignored += 1
            case Outcome.CANCELLED:
                self.stats.cancelled += 1

    def _let_time_pass(self, now: float) -> None:
        if self._hanging:
            self._count_hanging_calls(now)
        after = rules.expire(self._state, now, self.policy, self._random)
        if after is not self._state:
            probed = isinstance(self._state, rules.HalfOpen)
            self._move(after, "a probe had no result in time" if probed else "the override has ended")

    def _count_hanging_calls(self, now: float) -> None:
        """Calls that have hung too long count as slow: the slowest services never answer at all."""
        patience = self.policy.slow_after
        while self._hanging and (ticket := next(iter(self._hanging))).began + patience <= now:
            del self._hanging[ticket]
            ticket.counted_slow = True
            self.stats.slow += 1
            due = ticket.began + patience
            self._move(rules.hang(self._state, ticket.answer, due, self.policy, self._random), "calls hang")

    def _rejection(self, retry_after: float) -> CircuitOpen:
        state = self._state
        return CircuitOpen(
            self.service,
            state=state.name,
            retry_after=retry_after,
            cause=self.last_error,
            generation=state.generation,
            since=state.since,
        )

    def _move(self, after: BreakerState, why: str) -> None:
        before, self._state = self._state, after
        if after is before:
            return
        self.calm = rules.is_calm(after, self.policy)
        if self.calm:
            self.last_error = None  # It holds its traceback, and with it the values of the failed call.
        if isinstance(before, Override) and isinstance(after, Override):
            self.stats.would_open += max(0, after.trips - before.trips)
        if after.generation != before.generation:
            self._changed(before, after, why)

    def _changed(self, before: BreakerState, after: BreakerState, why: str) -> None:
        self.generation = after.generation
        self._pass = Admitted(after.generation)
        names = before.name, after.name
        self.stats.transitions[names] = self.stats.transitions.get(names, 0) + 1
        if before.name in OPEN_NAMES:
            self.stats.open_seconds += after.since - before.since
        if isinstance(after, Closed):
            self.last_error = None
        event = BreakerChanged(actor=self.actor, service=self.service, old=before, new=after, why=why)
        self.stats.unheard += self.audience.tell(event)


def _why(outcome: Outcome, error: BaseException | None) -> str:
    if outcome is not Outcome.FAILURE:
        return "calls went well"
    return f"a call failed: {sentence(error)}" if error is not None else "a result was judged a failure"
