"""What four published Python breakers do wrong, a scenario each: ours passes, a double with that fault does not.

Observed in November 2026 with pybreaker 1.4.1, circuitbreaker 2.1.3, aiobreaker 1.2.0 and purgatory 3.0.1. The
doubles are as small as the fault allows; they show that a scenario would notice.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeAlias, TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.runtime.breaker import CircuitBreaker
from resprout.runtime.breaker_events import BreakerChanged
from resprout.runtime.breaker_policy import BreakerPolicy, Consecutive
from resprout.runtime.breaker_rules import Outcome
from resprout.runtime.errors import CircuitOpen

R = TypeVar("R")


class Guard(Protocol):
    """What every breaker can do. Trips at two failures, tries again after more than 30 s."""

    async def call(self, fn: Callable[[], Awaitable[R]]) -> R: ...

    def is_closed(self) -> bool: ...


class Ours(CircuitBreaker):
    def __init__(self) -> None:
        super().__init__("peer", BreakerPolicy(trips=(Consecutive(2),)), judge=judge_as_peers)

    def is_closed(self) -> bool:
        return self.state.name == "closed"


class Excluded(Exception):
    """An error that says nothing about the service."""


def judge_as_peers(error: BaseException) -> Outcome:
    if isinstance(error, Excluded):
        return Outcome.IGNORED
    return Outcome.FAILURE if isinstance(error, Exception) else Outcome.CANCELLED


class Naive:
    """A breaker as many write it: a count, a moment to try again. The doubles add one fault each."""

    def __init__(self) -> None:
        self.failures, self.open_until = 0, -1.0
        self.probing = False

    def is_closed(self) -> bool:
        return self.open_until < 0

    async def call(self, fn: Callable[[], Awaitable[R]]) -> R:
        is_probe = self.admit()
        try:
            result = await fn()
        except Exception as error:
            self.ended(error, is_probe=is_probe)
            raise
        except BaseException as error:
            self.cancelled(error, is_probe=is_probe)
            raise
        self.ended(None, is_probe=is_probe)
        return result

    def admit(self) -> bool:
        if self.is_closed():
            return False
        if trio.current_time() < self.open_until or self.probing:
            raise CircuitOpen("double")
        self.probing = True
        return True

    def ended(self, error: Exception | None, *, is_probe: bool) -> None:
        self.probing = False
        if error is None and (is_probe or self.is_closed()):
            self.failures, self.open_until = 0, -1.0
        elif error is not None and not isinstance(error, Excluded):
            self.failures += 1
            if is_probe or self.failures >= 2:
                self.open_until = trio.current_time() + 36

    def cancelled(self, error: BaseException, *, is_probe: bool) -> None:
        self.probing = False


class CountsTheCoroutineAsSuccess(Naive):
    """As pybreaker: the function has "returned" once there is a coroutine."""

    async def call(self, fn: Callable[[], Awaitable[R]]) -> R:
        is_probe = self.admit()
        made = fn()
        self.ended(None, is_probe=is_probe)
        return await made


class ClosesOnACancelledProbe(Naive):
    """As circuitbreaker: whatever leaves the block without an expected error is a success."""

    def cancelled(self, error: BaseException, *, is_probe: bool) -> None:
        self.ended(None, is_probe=is_probe)


class ClosesOnALateSuccess(Naive):
    """As circuitbreaker: a success closes, whenever its call began."""

    def ended(self, error: Exception | None, *, is_probe: bool) -> None:
        super().ended(error, is_probe=is_probe or error is None)


class CountsCancellationAsFailure(Naive):
    """As purgatory: `except BaseException` counts."""

    def cancelled(self, error: BaseException, *, is_probe: bool) -> None:
        self.ended(RuntimeError(), is_probe=is_probe)


class LetsAllProbesThrough(Naive):
    """As circuitbreaker, aiobreaker and purgatory: half open is like closed."""

    def admit(self) -> bool:
        self.probing = False
        return super().admit()


class CountsExcludedAsSuccess(Naive):
    """As all four: an excluded error ends the row of failures."""

    def ended(self, error: Exception | None, *, is_probe: bool) -> None:
        super().ended(None if isinstance(error, Excluded) else error, is_probe=is_probe)


class ReplacesTheErrorThatTrips(Naive):
    """As pybreaker by default."""

    async def call(self, fn: Callable[[], Awaitable[R]]) -> R:
        try:
            return await super().call(fn)
        except Exception as error:
            if not self.is_closed():
                raise CircuitOpen("double") from error
            raise


async def refuse() -> None:
    raise ConnectionRefusedError


async def work() -> str:
    return "done"


async def fail(breaker: Guard, times: int = 2) -> None:
    for _ in range(times):
        with suppress(ConnectionRefusedError, CircuitOpen):
            await breaker.call(refuse)


async def async_functions_that_fail_trip_it(breaker: Guard) -> None:
    assert inspect.iscoroutinefunction(refuse)
    await fail(breaker, 10)
    assert not breaker.is_closed()


async def a_cancelled_probe_does_not_close_it(breaker: Guard) -> None:
    await fail(breaker)
    await trio.sleep(37)
    with trio.move_on_after(1):
        await breaker.call(trio.sleep_forever)
    assert not breaker.is_closed()
    assert await breaker.call(work) == "done"  # Nor is the permit lost.


async def a_success_that_began_before_the_trip_does_not_close_it(breaker: Guard) -> None:
    async with trio.open_nursery() as nursery:
        release = trio.Event()
        nursery.start_soon(breaker.call, release.wait)
        await wait_all_tasks_blocked()
        await fail(breaker)
        release.set()
    assert not breaker.is_closed()


async def cancelled_calls_do_not_open_it(breaker: Guard) -> None:
    for _ in range(2):
        with trio.move_on_after(1):
            await breaker.call(trio.sleep_forever)
    assert breaker.is_closed()


async def one_of_a_hundred_calls_at_once_is_the_probe(breaker: Guard) -> None:
    await fail(breaker)
    await trio.sleep(37)
    calls = 0

    async def count() -> None:
        nonlocal calls
        calls += 1
        await trio.sleep(1)

    async def call() -> None:
        with suppress(CircuitOpen):
            await breaker.call(count)

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(call)
    assert calls == 1


async def an_error_that_says_nothing_does_not_end_a_row_of_failures(breaker: Guard) -> None:
    async def exclude() -> None:
        raise Excluded

    await fail(breaker, 1)
    with suppress(Excluded):
        await breaker.call(exclude)
    await fail(breaker, 1)
    assert not breaker.is_closed()


async def the_call_that_trips_it_raises_its_own_error(breaker: Guard) -> None:
    for _ in range(2):
        try:
            await breaker.call(refuse)
        except Exception as error:  # noqa: BLE001 - which one it is, is the question.
            assert isinstance(error, ConnectionRefusedError)  # noqa: PT017 - any other fails the scenario.
    assert not breaker.is_closed()


Scenario: TypeAlias = Callable[[Guard], Awaitable[None]]

FAULTS: list[tuple[Scenario, type[Naive]]] = [
    (async_functions_that_fail_trip_it, CountsTheCoroutineAsSuccess),
    (a_cancelled_probe_does_not_close_it, ClosesOnACancelledProbe),
    (a_success_that_began_before_the_trip_does_not_close_it, ClosesOnALateSuccess),
    (cancelled_calls_do_not_open_it, CountsCancellationAsFailure),
    (one_of_a_hundred_calls_at_once_is_the_probe, LetsAllProbesThrough),
    (an_error_that_says_nothing_does_not_end_a_row_of_failures, CountsExcludedAsSuccess),
    (the_call_that_trips_it_raises_its_own_error, ReplacesTheErrorThatTrips),
]


async def test_pybreaker_never_trips_on_async_functions(autojump_clock: MockClock) -> None:
    await async_functions_that_fail_trip_it(Ours())


async def test_circuitbreaker_closes_when_its_probe_is_cancelled(autojump_clock: MockClock) -> None:
    await a_cancelled_probe_does_not_close_it(Ours())


async def test_circuitbreaker_closes_when_a_call_from_before_the_trip_succeeds_late(
    autojump_clock: MockClock,
) -> None:
    await a_success_that_began_before_the_trip_does_not_close_it(Ours())


async def test_purgatory_opens_after_two_cancelled_calls(autojump_clock: MockClock) -> None:
    await cancelled_calls_do_not_open_it(Ours())


async def test_circuitbreaker_aiobreaker_and_purgatory_let_all_calls_through_half_open(
    autojump_clock: MockClock,
) -> None:
    await one_of_a_hundred_calls_at_once_is_the_probe(Ours())


async def test_all_four_count_an_excluded_error_as_a_success(autojump_clock: MockClock) -> None:
    await an_error_that_says_nothing_does_not_end_a_row_of_failures(Ours())


async def test_pybreaker_replaces_the_error_of_the_call_that_trips_it(autojump_clock: MockClock) -> None:
    await the_call_that_trips_it_raises_its_own_error(Ours())


def test_circuitbreaker_turns_zero_failures_into_five() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        BreakerPolicy(trips=(Consecutive(0),))


async def test_peers_run_listeners_in_the_path_of_the_call() -> None:
    def fail_to_listen(event: BreakerChanged) -> None:
        raise RuntimeError

    breaker = Ours()
    breaker.subscribe(fail_to_listen)
    await the_call_that_trips_it_raises_its_own_error(breaker)
    await wait_all_tasks_blocked()


@pytest.mark.parametrize(("scenario", "double"), FAULTS, ids=lambda each: each.__name__)
async def test_a_double_with_the_fault_fails_the_scenario(
    scenario: Scenario, double: type[Naive], autojump_clock: MockClock
) -> None:
    with pytest.raises(AssertionError):
        await scenario(double())


@pytest.mark.parametrize("scenario", [scenario for scenario, _ in FAULTS], ids=lambda each: each.__name__)
async def test_the_double_without_a_fault_passes_all(scenario: Scenario, autojump_clock: MockClock) -> None:
    await scenario(Naive())
