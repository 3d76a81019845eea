import random
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from resprout.runtime import errors
from resprout.runtime.breaker import CircuitBreaker
from resprout.runtime.breaker_events import BreakerChanged
from resprout.runtime.breaker_judge import judge
from resprout.runtime.breaker_policy import BreakerPolicy, Consecutive, SlowRate
from resprout.runtime.breaker_rules import Closed, Force, HalfOpen, Open, Outcome
from resprout.runtime.breakers import breakers
from resprout.runtime.events import Event


class Service:
    """Answers, refuses or hangs; counts the calls that reached it."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = ConnectionRefusedError("refused")
        self.takes = 0.0

    async def ask(self) -> str:
        self.calls += 1
        await trio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        return "fine"


def make_breaker(
    policy: BreakerPolicy | None = None, emit: Callable[[Event], None] = print
) -> CircuitBreaker:
    return CircuitBreaker("auth", policy or BreakerPolicy(), random=random.Random(1), emit=emit)


async def fail_times(breaker: CircuitBreaker, service: Service, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionRefusedError):
            await breaker.call(service.ask)


async def test_five_failures_open_it_and_one_good_probe_closes_it_again(autojump_clock: MockClock) -> None:
    service, events = Service(), list[Event]()
    breaker = make_breaker(emit=events.append)
    await fail_times(breaker, service, 5)  # The call that trips it raises its own error.
    with pytest.raises(errors.CircuitOpen) as rejected:
        await breaker.call(service.ask)
    assert service.calls == 5
    assert rejected.value.retry_after is not None
    assert 24 <= rejected.value.retry_after <= 36
    assert rejected.value.cause is service.error
    assert rejected.value.state == "open"

    service.error = None
    await trio.sleep(rejected.value.retry_after)
    assert await breaker.call(service.ask) == "fine"
    assert isinstance(breaker.state, Closed)
    assert [(event.old.name, event.new.name) for event in events if isinstance(event, BreakerChanged)] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]


async def test_of_a_hundred_calls_at_once_only_one_is_the_probe(autojump_clock: MockClock) -> None:
    service, breaker = Service(), make_breaker()
    await fail_times(breaker, service, 5)
    await trio.sleep(36)
    service.error, service.takes = None, 1.0
    rejections: list[errors.CircuitOpen] = []

    async def call() -> None:
        try:
            await breaker.call(service.ask)
        except errors.CircuitOpen as error:
            rejections.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(call)
    assert service.calls == 6
    assert len(rejections) == 99
    assert all(error.retry_after is not None and 0 < error.retry_after <= 10 for error in rejections)
    assert isinstance(breaker.state, Closed)


async def test_a_hanging_probe_ends_at_its_deadline_with_a_typed_error(autojump_clock: MockClock) -> None:
    service, breaker = Service(), make_breaker()
    await fail_times(breaker, service, 5)
    await trio.sleep(36)
    service.takes = 1000.0
    start = trio.current_time()
    with pytest.raises(errors.DeadlineExceeded):
        await breaker.call(service.ask)
    assert trio.current_time() - start == 10
    assert isinstance(breaker.state, Open)
    assert breaker.state.openings == 2


async def test_a_cancelled_call_is_neutral_also_as_a_probe(autojump_clock: MockClock) -> None:
    service, breaker = Service(), make_breaker()
    service.takes = 1000.0
    for _ in range(20):
        with trio.move_on_after(1):
            await breaker.call(service.ask)
    assert isinstance(breaker.state, Closed)
    service.takes = 0.0
    await fail_times(breaker, service, 5)
    await trio.sleep(36)
    service.takes = 1000.0
    with trio.move_on_after(1) as given_up:
        await breaker.call(service.ask)
    assert given_up.cancelled_caught
    assert isinstance(breaker.state, HalfOpen)
    service.takes, service.error = 0.0, None
    assert await breaker.call(service.ask) == "fine"
    assert breaker.stats.cancelled == 21


async def test_a_call_begun_before_the_trip_cannot_close_it_late(autojump_clock: MockClock) -> None:
    service, breaker = Service(), make_breaker()
    early = breaker.admit()
    await fail_times(breaker, service, 5)
    early.succeeded()
    assert isinstance(breaker.state, Open)
    assert breaker.stats.late == 1


async def test_each_ticket_counts_once(autojump_clock: MockClock) -> None:
    breaker = make_breaker(BreakerPolicy(trips=(Consecutive(2),)))
    ticket = breaker.admit()
    for _ in range(5):
        ticket.failed(ConnectionError())
    assert isinstance(breaker.state, Closed)


async def test_it_stays_usable_through_a_long_outage_and_closes_after_it(autojump_clock: MockClock) -> None:
    service, breaker = Service(), make_breaker()
    while trio.current_time() < 3600:
        try:
            await breaker.call(service.ask)
        except (errors.CircuitOpen, ConnectionRefusedError):
            await trio.sleep(0.5)
    assert service.calls < 60  # Five, then one probe per open time.
    service.error = None
    healthy_since = trio.current_time()
    while not isinstance(breaker.state, Closed):
        with suppress(errors.CircuitOpen):
            await breaker.call(service.ask)
        await trio.sleep(0.5)
    assert trio.current_time() - healthy_since <= 121


async def test_a_service_seen_alive_gets_a_probe_early_but_is_not_trusted_at_once(
    autojump_clock: MockClock,
) -> None:
    service, breaker = Service(), make_breaker()
    await fail_times(breaker, service, 5)
    breaker.seen_alive()
    assert isinstance(breaker.state, HalfOpen)
    await fail_times(breaker, service, 1)
    assert isinstance(breaker.state, Open)


async def test_calls_that_hang_count_as_slow_while_they_still_hang(autojump_clock: MockClock) -> None:
    policy = BreakerPolicy(trips=(SlowRate(0.5, slow_after=2.0, calls=10, min_calls=4),))
    service, breaker = Service(), make_breaker(policy)
    service.takes, service.error = 1000.0, None
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(breaker.call, service.ask)
        await trio.sleep(3)
        with pytest.raises(errors.CircuitOpen):
            breaker.admit()
        assert breaker.stats.slow >= 4
        nursery.cancel_scope.cancel()


async def test_an_operator_can_force_it_for_a_time(autojump_clock: MockClock) -> None:
    service, breaker = Service(), make_breaker()
    service.error = None
    breaker.force(Force.OPEN, by="ann", reason="maintenance", seconds=60)
    with pytest.raises(errors.CircuitOpen) as rejected:
        await breaker.call(service.ask)
    assert rejected.value.state == "forced_open"
    assert rejected.value.retry_after == 60
    await trio.sleep(60)
    assert await breaker.call(service.ask) == "fine"
    assert isinstance(breaker.state, Closed)


async def cancelled_error() -> BaseException:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept: BaseException = error
            raise
    return kept


async def test_errors_are_judged_by_what_they_say_about_the_service() -> None:
    cancelled = await cancelled_error()
    verdicts: list[tuple[BaseException, Outcome]] = [
        (OSError(), Outcome.FAILURE),
        (EOFError(), Outcome.FAILURE),
        (TimeoutError(), Outcome.FAILURE),
        (trio.TooSlowError(), Outcome.FAILURE),
        (errors.Unavailable("x", "down"), Outcome.FAILURE),
        (errors.DeadlineExceeded("x", "late"), Outcome.FAILURE),
        (errors.ReplyError("401"), Outcome.SUCCESS),
        (errors.CircuitOpen("x", "open"), Outcome.IGNORED),
        (errors.PoolExhausted("x", "busy"), Outcome.IGNORED),
        (TypeError(), Outcome.IGNORED),
        (cancelled, Outcome.CANCELLED),
        (BaseExceptionGroup("", [cancelled, OSError()]), Outcome.FAILURE),
        (ExceptionGroup("", [TypeError(), errors.ReplyError("401")]), Outcome.IGNORED),
    ]
    for error, outcome in verdicts:
        assert judge(error) is outcome, error


def test_the_registry_keeps_a_breaker_for_a_restarted_owner_but_not_for_a_new_run() -> None:
    async def own() -> CircuitBreaker:
        first = breakers().get("auth", random=random.Random(), emit=print, actor="app/auth")
        first.admit().failed(OSError())
        second = breakers().get("auth", random=random.Random(), emit=print, actor="app/auth")
        assert second is first
        assert breakers().find("auth") is first
        assert list(breakers()) == [first]
        with pytest.raises(ValueError, match="another policy"):
            breakers().get("auth", BreakerPolicy(open_for=5), random=random.Random(), emit=print, actor="")
        return first

    assert trio.run(own) is not trio.run(own)
