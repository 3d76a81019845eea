"""How many retries a service can bear: a share of the calls that are under way, shared by all callers.

Retries make an overload worse: three attempts per call are three times the load, just when the service has no
room. A budget bounds them all together: while few calls fail each of them is retried, when all fail hardly any is.
A call counts from its start, so that a wave of calls that begin to fail at once finds its budget, and a retry
counts from the decision to its end, the wait before it too.
"""

import math
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final

import attrs
import trio

from resprout.runtime.events import Event


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How many retries there may be.

    Attributes:
        share: Retries at one time, as a share of the calls that are under way: in an attempt or waiting for one.
        minimum: So many retries at one time are allowed anyhow.
        per_call: So many retries of one call, so twice means three attempts.

    Raises:
        ValueError: If *share* is not between 0 and 1, or a count is negative or not whole.
    """

    share: float = 0.2
    minimum: int = 3
    per_call: int = 2

    def __attrs_post_init__(self) -> None:
        if not (math.isfinite(self.share) and 0 <= self.share <= 1):
            raise ValueError(
                f"share must be between 0 and 1, not {self.share!r}; 0.2 is a fifth of all calls"
            )
        for name, count in (("minimum", self.minimum), ("per_call", self.per_call)):
            if type(count) is not int or count < 0:
                raise ValueError(f"{name} must be a whole number of at least 0, not {count!r}; choose one")


DEFAULT_RETRIES: Final = RetryPolicy()


def may_retry(policy: RetryPolicy, *, calls: int, retrying: int) -> bool:
    """Whether one more retry fits beside *retrying* others, with *calls* under way.

    >>> may_retry(RetryPolicy(), calls=1, retrying=2), may_retry(RetryPolicy(), calls=100, retrying=20)
    (True, False)
    """
    return retrying < max(policy.minimum, policy.share * calls)


@attrs.frozen(kw_only=True)
class RetryBudgetExhausted(Event):
    """A retry of *service* was not allowed, the first one since a retry was: *retrying* of *calls* are retries."""

    level = "warning"

    service: str
    calls: int
    retrying: int


class RetryBudget:
    """What all callers of one service share. Belongs to one trio run; needs no lock, no task and no closing.

    Args:
        service: Name in events and metrics.
        policy: How many retries there may be.
        emit: Takes `RetryBudgetExhausted`; must not block.
        actor: Path of the owner, for the event.

    Attributes:
        calls: Calls under way now.
        retrying: How many of them are in a retry, or wait for it.
        granted: Retries allowed so far.
        exhausted: Retries refused so far.
    """

    def __init__(
        self,
        service: str,
        policy: RetryPolicy = DEFAULT_RETRIES,
        *,
        emit: Callable[[Event], None] | None = None,
        actor: str = "",
    ) -> None:
        self.service, self.policy, self.emit, self.actor = service, policy, emit, actor
        self.calls = self.retrying = self.granted = self.exhausted = 0
        self._refusing = False

    def call(self) -> "BudgetedCall":
        """A ``with`` block around one call and its retries: counts it from here."""
        return BudgetedCall(self)

    def grant(self) -> bool:
        """Take one retry out of the budget, if there is one. For `BudgetedCall`."""
        if may_retry(self.policy, calls=self.calls, retrying=self.retrying):
            self.retrying += 1
            self.granted += 1
            self._refusing = False
            return True
        self.exhausted += 1
        if not self._refusing:
            self._refusing = True
            if self.emit is not None:
                self.emit(
                    RetryBudgetExhausted(
                        actor=self.actor, service=self.service, calls=self.calls, retrying=self.retrying
                    )
                )
        return False


class BudgetedCall:
    """One call under a budget, as a ``with`` block."""

    __slots__ = ("_budget", "_holds", "retries")

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._holds = False  # One retry of the budget.
        self.retries = 0

    def may_retry(self) -> bool:
        """Ask for one more attempt; a yes is counted until the block ends or the next question."""
        if self.retries >= self._budget.policy.per_call:
            return False
        self._give_back()
        self._holds = self._budget.grant()
        self.retries += self._holds
        return self._holds

    def _give_back(self) -> None:
        self._budget.retrying -= self._holds
        self._holds = False

    def __enter__(self) -> "BudgetedCall":
        self._budget.calls += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.calls -= 1
        self._give_back()


class RetryBudgets:
    """All retry budgets of one trio run, by name of the service."""

    def __init__(self) -> None:
        self._by_service: dict[str, RetryBudget] = {}

    def get(
        self,
        service: str,
        policy: RetryPolicy = DEFAULT_RETRIES,
        *,
        emit: Callable[[Event], None] | None = None,
        actor: str | None = None,
    ) -> RetryBudget:
        """Return the budget of *service*, made at the first call; *emit* and *actor* replace what there was.

        Raises:
            ValueError: If the budget exists with another policy: two owners disagree about it.
        """
        budget = self._by_service.get(service)
        if budget is None:
            budget = self._by_service[service] = RetryBudget(service, policy)
        elif budget.policy != policy:
            raise ValueError(
                f"the retry budget {service!r} exists with another policy, {budget.policy}: ask for it with that one"
            )
        budget.emit = emit or budget.emit
        budget.actor = budget.actor if actor is None else actor
        return budget

    def shared(self, service: str, *, emit: Callable[[Event], None], actor: str) -> RetryBudget:
        """Return the budget of *service* whatever its policy; *emit* and *actor* if it has none yet."""
        budget = self._by_service.get(service)
        if budget is None:
            return self.get(service, emit=emit, actor=actor)
        budget.emit = budget.emit or emit
        budget.actor = budget.actor or actor
        return budget

    def __iter__(self) -> Iterator[RetryBudget]:
        return iter(tuple(self._by_service.values()))


_BUDGETS: Final[trio.lowlevel.RunVar[RetryBudgets]] = trio.lowlevel.RunVar("resprout_retry_budgets")


def retry_budgets() -> RetryBudgets:
    """The retry budgets of this trio run."""
    try:
        return _BUDGETS.get()
    except LookupError:
        _BUDGETS.set(made := RetryBudgets())
        return made
