import random
from collections import Counter
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.runtime import errors
from resprout.runtime.backoff import Backoff
from resprout.runtime.breaker import CircuitBreaker
from resprout.runtime.errors import Sent
from resprout.runtime.events import Event
from resprout.runtime.retry import may_repeat, retry, wait_before_retry
from resprout.runtime.retry_budget import (
    RetryBudget,
    RetryBudgetExhausted,
    RetryPolicy,
    may_retry,
    retry_budgets,
)

NOT_SENT = errors.Unavailable("billing", "no connection", sent=Sent.NO)
EXACTLY_ONE = Backoff(floor=1.0, base=1.0, cap=1.0)  # Waits are 1 s each.


@attrs.define
class Service:
    """Raises its errors one after the other, then answers; notes when it was asked."""

    errors: list[BaseException]
    takes: float = 0.0
    asked_at: list[float] = attrs.field(factory=list)

    async def ask(self) -> str:
        self.asked_at.append(trio.current_time())
        await trio.sleep(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        return "fine"


def asking(
    service: Service, budget: RetryBudget | None = None, *, timeout: float = 60.0, idempotent: bool = False
) -> Callable[[], Awaitable[str]]:
    return lambda: retry(
        service.ask,
        budget=budget or RetryBudget("billing"),
        timeout=timeout,
        idempotent=idempotent,
        backoff=EXACTLY_ONE,
    )


async def test_what_was_not_sent_is_tried_again_twice_and_no_more(autojump_clock: MockClock) -> None:
    assert await asking(service := Service([NOT_SENT] * 2))() == "fine"
    assert service.asked_at == [0.0, 1.0, 2.0]
    with pytest.raises(errors.Unavailable):
        await asking(service := Service([NOT_SENT] * 9))()
    assert len(service.asked_at) == 3


REFUSED = ConnectionRefusedError()
UNKNOWN = errors.OutcomeUnknown("billing", "no answer", sent=Sent.MAYBE)


@pytest.mark.parametrize(
    ("error", "plain", "idempotent"),
    [
        (NOT_SENT, True, True),
        (errors.PoolExhausted("billing", "busy"), True, True),
        (errors.CircuitOpen("billing", retry_after=1.0), True, True),
        (errors.CircuitOpen("billing"), False, False),  # Nobody knows when.
        (UNKNOWN, False, True),
        (errors.Unavailable("billing", "broken", sent=Sent.YES), False, True),
        (REFUSED, False, True),
        (trio.TooSlowError(), False, True),
        (errors.ReplyError("no such order"), False, False),
        (TypeError(), False, False),
        (KeyboardInterrupt(), False, False),
        (ExceptionGroup("", [NOT_SENT, REFUSED]), False, True),
        (ExceptionGroup("", [REFUSED, TypeError()]), False, False),
    ],
)
def test_only_what_does_no_harm_is_tried_again(error: BaseException, plain: bool, idempotent: bool) -> None:
    assert may_repeat(error, idempotent=False) is plain
    assert may_repeat(error, idempotent=True) is idempotent


async def test_what_may_have_run_is_tried_again_only_if_declared_idempotent(
    autojump_clock: MockClock,
) -> None:
    with pytest.raises(errors.OutcomeUnknown):
        await asking(service := Service([UNKNOWN]))()
    assert len(service.asked_at) == 1
    assert await asking(Service([UNKNOWN]), idempotent=True)() == "fine"


async def test_an_open_breaker_is_waited_for_if_it_ends_in_time_and_else_not_at_all(
    autojump_clock: MockClock,
) -> None:
    breaker = CircuitBreaker("billing", random=random.Random(1))
    for _ in range(5):
        breaker.admit().failed(OSError())
    rejection = breaker.rejection()
    assert rejection is not None
    assert rejection.retry_after is not None

    async def ask(timeout: float) -> str:
        return await retry(
            lambda: breaker.call(Service([]).ask), budget=RetryBudget("billing"), timeout=timeout
        )

    with pytest.raises(errors.CircuitOpen):
        await ask(rejection.retry_after)
    assert trio.current_time() == 0
    assert await ask(rejection.retry_after + 5) == "fine"
    assert rejection.retry_after < trio.current_time() <= rejection.retry_after + 0.25


async def test_layers_in_their_order_refuse_early_and_count_each_attempt(autojump_clock: MockClock) -> None:
    """Deadline, retry, breaker, bulkhead, attempt timeout, call."""
    breaker, budget, bulkhead = CircuitBreaker("billing"), RetryBudget("billing"), trio.CapacityLimiter(2)
    ends = Counter[type[BaseException]]()

    async def attempt() -> None:
        async with breaker, bulkhead:
            with trio.fail_after(2):
                await trio.sleep_forever()

    async def caller() -> None:
        try:
            await retry(attempt, budget=budget, timeout=10)
        except errors.ServiceError as error:
            ends[type(error)] += 1
        except trio.TooSlowError as error:
            ends[type(error)] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(25):
            nursery.start_soon(caller)
        await trio.sleep(9)
        for _ in range(25):
            nursery.start_soon(caller)
    assert ends[errors.CircuitOpen] == breaker.stats.rejected == 25  # At once, and none took a place.
    assert ends[trio.TooSlowError] == breaker.stats.failed == 8  # Two at a time, for two seconds each.
    assert ends[errors.OutcomeUnknown] == breaker.stats.cancelled == 17  # Their deadline only cancels.
    assert (bulkhead.borrowed_tokens, budget.calls, budget.retrying) == (0, 0, 0)


async def test_the_deadline_of_a_scope_around_it_counts_too(autojump_clock: MockClock) -> None:
    with trio.fail_after(1.5), pytest.raises(errors.Unavailable):
        await asking(service := Service([NOT_SENT] * 9))()
    assert service.asked_at == [0.0, 1.0]
    assert trio.current_time() == 1.0


async def test_an_attempt_is_cut_off_at_the_deadline_and_says_what_is_known(
    autojump_clock: MockClock,
) -> None:
    slow = Service([NOT_SENT], takes=4.0)
    with pytest.raises(errors.OutcomeUnknown, match="within 7 s") as unknown:
        await asking(slow, timeout=7.0)()
    assert trio.current_time() == 7.0
    assert unknown.value.cause is NOT_SENT
    with pytest.raises(errors.DeadlineExceeded):
        await asking(Service([], takes=9.0), timeout=7.0, idempotent=True)()


async def test_cancelled_in_the_wait_for_a_retry_it_gives_the_retry_back(autojump_clock: MockClock) -> None:
    budget = RetryBudget("billing")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking(Service([NOT_SENT]), budget))
        await trio.sleep(0.5)
        assert (budget.calls, budget.retrying) == (1, 1)
        nursery.cancel_scope.cancel()
    assert (budget.calls, budget.retrying) == (0, 0)


async def test_when_all_calls_fail_at_once_only_a_fifth_is_tried_again(autojump_clock: MockClock) -> None:
    events: list[Event] = []
    budget = RetryBudget("billing", emit=events.append)
    services = [Service([NOT_SENT] * 9, takes=0.1) for _ in range(100)]

    async def call(service: Service) -> None:
        with pytest.raises(errors.Unavailable):
            await asking(service, budget)()

    async with trio.open_nursery() as nursery:
        for service in services:
            nursery.start_soon(call, service)
    attempts = sum(len(service.asked_at) for service in services)
    assert 100 + 20 <= attempts <= 100 + 40
    assert budget.granted == attempts - 100
    assert budget.exhausted >= 80
    assert (budget.calls, budget.retrying) == (0, 0)
    assert all(isinstance(event, RetryBudgetExhausted) for event in events)
    assert 1 <= len(events) <= 20  # Once until a retry is allowed again, not once per refusal.


async def test_when_few_calls_fail_each_is_tried_again(autojump_clock: MockClock) -> None:
    budget = RetryBudget("billing")
    async with trio.open_nursery() as nursery:
        for _ in range(90):
            nursery.start_soon(asking(Service([], takes=5.0), budget))
        await wait_all_tasks_blocked()
        for _ in range(10):
            nursery.start_soon(asking(Service([NOT_SENT]), budget))
    assert (budget.granted, budget.exhausted) == (10, 0)


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(0, 4), st.sampled_from([0.0, 0.2, 0.5]))
def test_the_books_of_a_budget_agree_with_its_calls(steps: list[int], minimum: int, share: float) -> None:
    budget = RetryBudget("billing", RetryPolicy(minimum=minimum, share=share))
    calls = [budget.call() for _ in range(10)]
    open_calls, in_retry = set[int](), set[int]()
    for which in steps:
        if which not in open_calls:
            calls[which].__enter__()
            open_calls.add(which)
            continue
        retries = calls[which].retries
        if calls[which].may_retry():
            in_retry.add(which)
            assert retries < 2
            assert len(in_retry) <= max(minimum, share * len(open_calls) + 1)
        else:
            calls[which].__exit__(None, None, None)
            calls[which] = budget.call()
            open_calls.discard(which)
            in_retry.discard(which)
        assert (budget.calls, budget.retrying) == (len(open_calls), len(in_retry))


def test_the_rule_of_the_budget() -> None:
    policy = RetryPolicy()
    assert [may_retry(policy, calls=1, retrying=taken) for taken in (2, 3)] == [True, False]
    assert [may_retry(policy, calls=100, retrying=taken) for taken in (19, 20)] == [True, False]
    assert not may_retry(RetryPolicy(minimum=0, share=0.0), calls=100, retrying=0)


async def test_a_budget_without_retries_per_call_tries_once(autojump_clock: MockClock) -> None:
    budget = RetryBudget("billing", RetryPolicy(per_call=0))
    with pytest.raises(errors.Unavailable):
        await asking(Service([NOT_SENT]), budget)()
    assert budget.exhausted == 0


def test_a_retry_comes_after_what_the_error_asks_for_and_not_at_the_same_moment_as_all_others() -> None:
    asks = errors.Unavailable("billing", "down", retry_after=3.0)
    assert wait_before_retry(asks, 0.5) == 3.5
    assert wait_before_retry(ExceptionGroup("", [asks, OSError()]), 0.5) == 3.5
    assert wait_before_retry(OSError(), 0.5) == 0.5


@pytest.mark.parametrize(
    "wrong",
    [{"share": -0.1}, {"share": 1.5}, {"share": float("nan")}, {"minimum": -1}, {"per_call": 1.5}],
)
def test_a_policy_of_retries_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]  # Wrong on purpose.


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
async def test_a_timeout_that_makes_no_sense_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        await asking(Service([]), timeout=wrong)()


async def test_the_registry_shares_a_budget_per_service() -> None:
    events: list[Event] = []
    budget = retry_budgets().get("billing", actor="app/billing", emit=events.append)
    assert retry_budgets().get("billing") is budget
    assert list(retry_budgets()) == [budget]
    assert (budget.actor, budget.emit) == ("app/billing", events.append)
    with pytest.raises(ValueError, match="another policy"):
        retry_budgets().get("billing", RetryPolicy(share=0.1))
