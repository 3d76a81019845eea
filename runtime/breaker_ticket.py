"""Leave to make one call through a circuit breaker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from resprout.runtime.breaker_rules import Outcome
from resprout.runtime.errors import DeadlineExceeded, Sent

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from resprout.runtime.breaker import CircuitBreaker
    from resprout.runtime.breaker_rules import Admitted

T = TypeVar("T")


class Ticket:
    """Leave to make one call. Settled by the first of: the end of its ``with`` block, or a method here.

    As a ``with`` block it also ends a probe at its deadline, with `DeadlineExceeded`.
    """

    __slots__ = ("_breaker", "_scope", "_settled", "answer", "began", "counted_slow", "outer")

    def __init__(self, breaker: CircuitBreaker, answer: Admitted, began: float) -> None:
        self._breaker, self.answer, self.began = breaker, answer, began
        self.counted_slow = self._settled = False
        self._scope: trio.CancelScope | None = None
        self.outer: Ticket | None = None  # Of the same task and breaker; see `CircuitBreaker.__aenter__`.

    @property
    def is_probe(self) -> bool:
        """Whether the result of this call decides if the breaker closes."""
        return self.answer.permit is not None

    def succeeded(self) -> None:
        """The service answered."""
        self._end(Outcome.SUCCESS, None)

    def returned(self, result: object) -> None:
        """The service answered with *result*; the breaker's `judge_result` says what that means."""
        if not self._settled:
            self._end(self._judged(self._breaker.judge_result, result), None)

    def failed(self, error: BaseException) -> None:
        """The call ended with *error*; the breaker's `judge` says what that means."""
        if not self._settled:
            self._end(self._judged(self._breaker.judge, error), error)

    def cancelled(self) -> None:
        """The call was given up for reasons of our own."""
        self._end(Outcome.CANCELLED, None)

    def __enter__(self) -> Ticket:
        if self._settled or self._scope is not None:
            raise RuntimeError(
                f"a ticket of {self._breaker.service} is for one call: ask admit() for another"
            )
        if self.answer.permit is not None:
            self._scope = trio.CancelScope(deadline=self.answer.until)
            self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._scope is not None:
            self._leave(self._scope, kind, error, trace)
        elif error is None:
            self._end(Outcome.SUCCESS, None)
        else:
            self.failed(error)

    def _leave(
        self,
        scope: trio.CancelScope,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scope = None
        try:
            scope.__exit__(kind, error, trace)
        except BaseException as rest:  # What a group held besides the probe's own end.
            self.failed(rest)
            raise
        if scope.cancelled_caught:
            raise self._ended_late()
        if error is None:
            self._end(Outcome.SUCCESS, None)
        else:
            self.failed(error)

    def _ended_late(self) -> DeadlineExceeded:
        timeout = self._breaker.policy.probe_timeout
        late = DeadlineExceeded(
            self._breaker.service,
            f"the breaker's probe had no result within {timeout:g} s",
            state="half_open",
            sent=Sent.MAYBE,
        )
        self._end(Outcome.FAILURE, late)
        return late

    def _judged(self, judge: Callable[[T], Outcome] | None, what: T) -> Outcome:
        """Ask *judge*. One that fails is a bug of ours and comes out, but keeps no permit."""
        if judge is None:
            return Outcome.SUCCESS
        try:
            outcome = judge(what)
            if type(outcome) is not Outcome:
                raise TypeError(
                    f"a judge must return an Outcome, not {outcome!r}; return Outcome.FAILURE or SUCCESS"
                )
        except BaseException:
            self._end(Outcome.IGNORED, None)
            raise
        return outcome

    def _end(self, outcome: Outcome, error: BaseException | None) -> None:
        if self._settled:
            return
        self._settled = True
        breaker = self._breaker
        if breaker.calm and outcome is Outcome.SUCCESS and self.answer.generation == breaker.generation:
            breaker.stats.succeeded += 1  # By far the most frequent case: nothing to remember.
        else:
            breaker.settle(self, outcome, error)
