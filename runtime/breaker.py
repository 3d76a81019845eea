"""The circuit breaker: stop calling a service that fails, and find out by itself when it works again.

    breaker = CircuitBreaker("auth", random=random.Random(), emit=context.emit)
    with breaker.admit():               # raises CircuitOpen(retry_after) without running the call
        await verify(token)

The call's own error always comes out as it is; only calls that were not admitted see `CircuitOpen`. A
cancelled call says nothing about the service, a business error (any `ReplyError` that is not a
`ServiceError`) says that the service lives, a programming error says nothing: see `judge`.

All time is `trio.current_time()`. The rules are pure and live in `resprout.runtime.breaker_rules`.
"""

import math
import random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

import attrs
import trio

import resprout.runtime.breaker_rules as rules
from resprout.runtime.breaker_policy import DEFAULT_BREAKER, BreakerPolicy
from resprout.runtime.breaker_rules import Admitted, BreakerState, Closed, Force, Open, Outcome, Rejected
from resprout.runtime.classify import is_programming_error, leaves
from resprout.runtime.errors import (
    CircuitOpen,
    DeadlineExceeded,
    Draining,
    PoolExhausted,
    ReplyError,
    Sent,
    ServiceError,
)
from resprout.runtime.events import Event
from resprout.runtime.telling import sentence

P = ParamSpec("P")
R = TypeVar("R")

OVERRIDE_SECONDS: Final = 600.0


@attrs.frozen(kw_only=True)
class BreakerChanged(Event):
    """The breaker in front of *service* went from one state to another."""

    service: str
    old: BreakerState
    new: BreakerState
    why: str

    def log_level(self) -> str:
        """A breaker that opens for a reason is trouble; one that stays open after a probe is none that is new."""
        return "warning" if isinstance(self.new, Open) and isinstance(self.old, Closed) else "info"


@attrs.define
class BreakerStats:
    """What has passed since the breaker was made; for metrics, so only ever growing."""

    succeeded: int = 0
    failed: int = 0
    slow: int = 0
    ignored: int = 0
    cancelled: int = 0
    rejected: int = 0
    late: int = 0


def judge(error: BaseException | None) -> Outcome:
    """What a call that ended with *error* says about the service.

    A group is a failure if any leaf is. Pass another function to `CircuitBreaker` where this does not fit.

    >>> judge(ConnectionRefusedError()), judge(ReplyError("no such user")), judge(KeyError("x"))
    (<Outcome.FAILURE: 'failure'>, <Outcome.SUCCESS: 'success'>, <Outcome.IGNORED: 'ignored'>)
    """
    if error is None:
        return Outcome.SUCCESS
    found = {_judge_leaf(leaf) for leaf in leaves(error)}
    order = (Outcome.FAILURE, Outcome.IGNORED, Outcome.CANCELLED, Outcome.SUCCESS)
    return next(outcome for outcome in order if outcome in found)


def _judge_leaf(error: BaseException) -> Outcome:
    match error:
        case CircuitOpen() | PoolExhausted() | Draining():
            return Outcome.IGNORED  # We never got as far as the service.
        case ServiceError():
            return Outcome.FAILURE
        case ReplyError():
            return Outcome.SUCCESS
        case Exception():
            return Outcome.IGNORED if is_programming_error(error) else Outcome.FAILURE
        case _:
            return Outcome.CANCELLED


class CircuitBreaker:
    """Guards the calls to one service. Belongs to one trio run; needs no lock, no task and no closing.

    Args:
        service: Name in errors and events.
        policy: When it trips, how long it stays open, how it probes.
        random: Source of jitter.
        emit: Takes `BreakerChanged`; called after the change, must not block.
        actor: Path of the owner, for the events.
        judge: What an error says about the service.
    """

    def __init__(
        self,
        service: str,
        policy: BreakerPolicy = DEFAULT_BREAKER,
        *,
        random: random.Random,
        emit: Callable[[Event], None] = lambda event: None,
        actor: str = "",
        judge: Callable[[BaseException | None], Outcome] = judge,
    ) -> None:
        self.service, self.policy, self.judge = service, policy, judge
        self.stats = BreakerStats()
        self.last_error: BaseException | None = None
        self.emit, self.actor = emit, actor
        self._random = random
        self._state: BreakerState = Closed()
        self._pass = Admitted(self._state.generation)
        self._counts_all = policy.window > 0
        self._hanging: dict[Ticket, None] = {}

    @property
    def state(self) -> BreakerState:
        """The present state. An `Open` whose time is over stays `Open` until the next call or probe comes."""
        self._move(rules.expire(self._state, trio.current_time(), self.policy, self._random), "time is over")
        return self._state

    @property
    def calm(self) -> bool:
        """Closed, and a success would change nothing."""
        state = self._state
        return isinstance(state, Closed) and not (state.tally.consecutive or self._counts_all)

    def rejection(self) -> CircuitOpen | None:
        """The error that a call would get now, without making one; None if it would be admitted."""
        _, answer = rules.admit(self.state, trio.current_time(), self.policy, self._random)
        return self._rejection(answer) if isinstance(answer, Rejected) else None

    def admit(self) -> "Ticket":
        """Ask to make one call. Use the ticket in a ``with`` block, or settle it yourself, exactly once.

        Raises:
            CircuitOpen: The call must not be made; nothing was sent. Come back after `retry_after` seconds.
        """
        if self._hanging:
            self._count_hanging_calls()
        now = trio.current_time()
        if type(self._state) is Closed:  # By far the most frequent case.
            return Ticket(self, self._pass, now)
        after, answer = rules.admit(self._state, now, self.policy, self._random)
        self._move(after, "trying again")
        if isinstance(answer, Rejected):
            self.stats.rejected += 1
            raise self._rejection(answer)
        return Ticket(self, answer, now)

    async def call(self, fn: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``await fn(*args, **kwargs)`` behind the breaker; raises what it raises, or `CircuitOpen`."""
        with self.admit():
            return await fn(*args, **kwargs)

    def seen_alive(self) -> None:
        """Somebody reached the service in another way: let a probe through now instead of waiting."""
        self._move(rules.seen_alive(self._state, trio.current_time()), "the service was seen alive")

    def force(self, force: Force, *, by: str, reason: str, seconds: float = OVERRIDE_SECONDS) -> None:
        """Reject all calls, or admit all, for *seconds*; then a probe decides. For operators.

        Raises:
            ValueError: If *seconds* is not positive or more than a day.
        """
        now = trio.current_time()
        self._move(rules.overridden(self._state, now, force, seconds, by, reason), f"{by}: {reason}")

    def release(self) -> None:
        """End an operator's override now; a probe decides how to go on."""
        self._move(rules.released(self._state, trio.current_time()), "released")

    def _settle(self, ticket: "Ticket", outcome: Outcome, error: BaseException | None) -> None:
        state = self._state
        if (
            outcome is Outcome.SUCCESS
            and type(state) is Closed
            and not (state.tally.consecutive or self._counts_all)
            and ticket.answer.generation == state.generation
        ):  # By far the most frequent case: nothing to remember.
            self.stats.succeeded += 1
            return
        now = trio.current_time()
        slow = not ticket.counted_slow and now - ticket.began >= self.policy.slow_after
        self._hanging.pop(ticket, None)
        self._count(outcome, slow=slow)
        if ticket.answer.generation != self.state.generation:
            self.stats.late += 1
            return
        if outcome is Outcome.FAILURE:
            self.last_error = error
        if ticket.counted_slow and outcome is Outcome.SUCCESS and isinstance(self._state, Closed):
            return  # Its slowness was counted when it became slow; once is enough.
        after = rules.settle(self._state, ticket.answer, outcome, now, self.policy, self._random, slow=slow)
        self._move(after, f"{self.service} failed: {error!r}" if error is not None else "calls went well")

    def _count(self, outcome: Outcome, *, slow: bool) -> None:
        self.stats.slow += slow
        match outcome:
            case Outcome.SUCCESS:
                self.stats.succeeded += 1
            case Outcome.FAILURE:
                self.stats.failed += 1
            case Outcome.IGNORED:
                self.stats.ignored += 1
            case Outcome.CANCELLED:
                self.stats.cancelled += 1

    def _count_hanging_calls(self) -> None:
        """Calls that have hung too long count as slow now: the slowest services never answer at all."""
        limit = trio.current_time() - self.policy.slow_after
        while self._hanging and (ticket := next(iter(self._hanging))).began <= limit:
            del self._hanging[ticket]
            ticket.counted_slow = True
            self.stats.slow += 1
            after = rules.settle(
                self._state,
                ticket.answer,
                Outcome.SUCCESS,
                trio.current_time(),
                self.policy,
                self._random,
                slow=True,
            )
            self._move(after, "calls hang")

    def _rejection(self, answer: Rejected) -> CircuitOpen:
        wait = answer.retry_after
        return CircuitOpen(
            self.service,
            f"the circuit breaker is {self._state.name.replace('_', ' ')}; try again in {wait:.3g} s"
            + (f" (last error: {sentence(self.last_error)})" if self.last_error is not None else ""),
            state=self._state.name,
            retry_after=wait,
            cause=self.last_error,
        )

    def _move(self, after: BreakerState, why: str) -> None:
        before, self._state = self._state, after
        if after.generation != before.generation:
            self._pass = Admitted(after.generation)
            self.emit(BreakerChanged(actor=self.actor, service=self.service, old=before, new=after, why=why))


class Ticket:
    """Leave to make one call. Settled by the first of: the end of its ``with`` block, or a method here.

    As a ``with`` block it also ends a probe at its deadline, with `DeadlineExceeded`.
    """

    __slots__ = ("_breaker", "_scope", "_settled", "answer", "began", "counted_slow")

    def __init__(self, breaker: CircuitBreaker, answer: Admitted, began: float) -> None:
        self._breaker, self.answer, self.began = breaker, answer, began
        self.counted_slow = False
        self._settled = False
        self._scope: trio.CancelScope | None = None
        if breaker._counts_all and answer.permit is None and breaker.policy.slow_after < math.inf:
            breaker._hanging[self] = None

    @property
    def is_probe(self) -> bool:
        """Whether the result of this call decides if the breaker closes."""
        return self.answer.permit is not None

    def succeeded(self) -> None:
        """The service answered."""
        self._end(Outcome.SUCCESS, None)

    def failed(self, error: BaseException) -> None:
        """The call ended with *error*; the breaker's `judge` says what that means."""
        self._end(self._breaker.judge(error), error)

    def cancelled(self) -> None:
        """The call was given up for reasons of our own."""
        self._end(Outcome.CANCELLED, None)

    def __enter__(self) -> "Ticket":
        if self.is_probe:
            self._scope = trio.CancelScope(deadline=self.answer.until)
            self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, self._scope = self._scope, None
        try:
            if scope is not None:
                scope.__exit__(kind, error, trace)
        except BaseException as rest:  # What a group held besides the probe's own end.
            self._end(self._breaker.judge(rest), rest)
            raise
        if scope is not None and scope.cancelled_caught:
            late = self._too_late()
            self._end(Outcome.FAILURE, late)
            raise late
        self._end(self._breaker.judge(error), error)

    def _too_late(self) -> DeadlineExceeded:
        timeout = self._breaker.policy.probe_timeout
        return DeadlineExceeded(
            self._breaker.service,
            f"the breaker's probe had no result within {timeout:g} s",
            state="half_open",
            sent=Sent.MAYBE,
        )

    def _end(self, outcome: Outcome, error: BaseException | None) -> None:
        if not self._settled:
            self._settled = True
            self._breaker._settle(self, outcome, error)
