"""The circuit breaker in any trio program: every way to use it, what it tells, and what it keeps."""

import gc
import math
import random
import weakref

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.runtime import errors
from resprout.runtime.breaker import CircuitBreaker
from resprout.runtime.breaker_events import MAX_UNHEARD, BreakerChanged
from resprout.runtime.breaker_judge import judge_by
from resprout.runtime.breaker_policy import BreakerPolicy, Consecutive, FailureRate, SlowRate
from resprout.runtime.breaker_rules import Closed, Force, HalfOpen, Open, Outcome
from resprout.runtime.breaker_ticket import Ticket
from resprout.runtime.breakers import breakers

TWO = BreakerPolicy(trips=(Consecutive(2),))


async def refuse(who: str = "it") -> str:
    raise ConnectionRefusedError(f"{who} is down")


async def answer(what: str = "fine", *, twice: bool = False) -> str:
    return what * (1 + twice)


def trip(breaker: CircuitBreaker) -> None:
    while breaker.state.name in ("closed", "half_open"):
        breaker.admit().failed(ConnectionRefusedError("down"))


async def test_async_with_counts_the_end_of_its_block(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", TWO)
    async with breaker as ticket:
        assert not ticket.is_probe
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            async with breaker:
                await refuse()
    with pytest.raises(errors.CircuitOpen):
        async with breaker:
            pytest.fail("it must not run")
    assert (breaker.stats.succeeded, breaker.stats.failed, breaker.stats.rejected) == (1, 2, 1)


async def test_async_with_gives_each_of_many_tasks_and_entries_a_ticket_of_its_own(
    autojump_clock: MockClock,
) -> None:
    breaker = CircuitBreaker("billing", TWO)
    seen: list[Ticket] = []  # Kept alive, so that no two have the same id.

    async def enter(number: int) -> None:
        async with breaker as outer:
            await trio.sleep(number % 3)
            async with breaker as inner:
                seen.extend((outer, inner))
                await trio.sleep(1)
            assert outer is not inner
            await trio.sleep(number % 2)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(enter, number)
    assert len({id(ticket) for ticket in seen}) == 100
    assert breaker.stats.succeeded == 100
    assert not breaker._inside


async def test_async_with_left_by_another_task_says_what_to_use_instead() -> None:
    breaker = CircuitBreaker("billing")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(breaker.__aenter__)
    with pytest.raises(RuntimeError, match=r"with breaker\.admit"):
        await breaker.__aexit__(None, None, None)


async def test_a_hanging_probe_ends_inside_async_with_too(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", TWO)
    trip(breaker)
    await trio.sleep(36)
    with pytest.raises(errors.DeadlineExceeded, match="10 s"):
        async with breaker:
            await trio.sleep_forever()
    assert isinstance(breaker.state, Open)


async def test_a_decorated_function_keeps_its_name_and_goes_through_the_breaker() -> None:
    breaker = CircuitBreaker("billing", TWO)
    guarded, refusing = breaker.guard(answer), breaker.guard(refuse)
    assert guarded.__name__ == "answer"
    assert await guarded("yes", twice=True) == "yesyes"
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await refusing()
    with pytest.raises(errors.CircuitOpen):
        await guarded()


async def test_a_result_may_be_judged_a_failure_and_is_returned_all_the_same() -> None:
    def judge_status(status: object) -> Outcome:
        return Outcome.FAILURE if isinstance(status, int) and status >= 500 else Outcome.SUCCESS

    async def status(code: int) -> int:
        return code

    breaker = CircuitBreaker("http", TWO, judge_result=judge_status)
    assert await breaker.call(status, 503) == 503
    assert await breaker.call(status, 404) == 404
    assert await breaker.call(status, 500) == 500
    with breaker.admit() as ticket:
        ticket.returned(502)
    with pytest.raises(errors.CircuitOpen, match=r"is open; try again in [0-9.]+ s$"):
        breaker.admit()


async def test_types_of_errors_may_be_judged_otherwise() -> None:
    judge = judge_by(failure=KeyError, success=(FileNotFoundError,), ignored=(ConnectionError, OSError))
    verdicts: list[tuple[BaseException, Outcome]] = [
        (KeyError(), Outcome.FAILURE),
        (FileNotFoundError(), Outcome.SUCCESS),
        (ConnectionResetError(), Outcome.IGNORED),
        (EOFError(), Outcome.FAILURE),
        (TypeError(), Outcome.IGNORED),
        (ExceptionGroup("", [FileNotFoundError(), KeyError()]), Outcome.FAILURE),
    ]
    for error, outcome in verdicts:
        assert judge(error) is outcome, error
    breaker = CircuitBreaker("files", TWO, judge=judge)
    for _ in range(5):
        breaker.admit().failed(FileNotFoundError())
    assert breaker.stats.succeeded == 5


@pytest.mark.parametrize("verdict", ["raise", True])
async def test_a_judge_with_a_bug_is_heard_and_keeps_no_permit(verdict: object) -> None:
    def judge(error: BaseException) -> Outcome:
        if verdict == "raise":
            raise ZeroDivisionError
        return verdict  # type: ignore[return-value] - wrong on purpose.

    breaker = CircuitBreaker("billing", TWO)
    trip(breaker)
    breaker.seen_alive()
    breaker.judge = judge
    with pytest.raises(ZeroDivisionError if verdict == "raise" else TypeError):
        await breaker.call(refuse)
    assert isinstance(breaker.state, HalfOpen)
    assert await breaker.call(answer) == "fine"
    assert isinstance(breaker.state, Closed)


async def test_a_ticket_is_for_one_call() -> None:
    breaker = CircuitBreaker("billing")
    ticket = breaker.admit()
    with ticket:
        pass
    with pytest.raises(RuntimeError, match="one call"), ticket:
        pass
    assert breaker.stats.succeeded == 1


async def test_the_error_of_a_refused_call_tells_all_there_is(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", TWO)
    await trio.sleep(7)
    trip(breaker)
    state = breaker.state
    assert isinstance(state, Open)
    await trio.sleep(4)
    with pytest.raises(errors.CircuitOpen) as refused:
        breaker.admit()
    error = refused.value
    assert (error.service, error.state, error.sent) == ("billing", "open", errors.Sent.NO)
    assert (error.generation, error.since, error.retry_after) == (1, 7.0, state.until - 11.0)
    assert isinstance(error.cause, ConnectionRefusedError)
    assert error.__cause__ is error.cause
    text = f"billing: the circuit breaker is open; try again in {error.retry_after:.3g} s"
    assert str(error) == f"{text} (last error: ConnectionRefusedError: down)"
    assert repr(error) == f"CircuitOpen({str(error)!r})"
    assert str(errors.CircuitOpen("x", "my own words")) == "x: my own words"


async def test_nothing_of_a_failed_call_is_kept_once_the_trouble_is_over(autojump_clock: MockClock) -> None:
    class Secret:
        pass

    async def fail_with_a_secret() -> None:
        secret = Secret()
        kept.append(weakref.ref(secret))
        raise ConnectionRefusedError

    kept: list[weakref.ref[Secret]] = []
    breaker = CircuitBreaker("billing", TWO)
    for calls in (1, 2):
        for _ in range(calls):
            with pytest.raises(ConnectionRefusedError):
                await breaker.call(fail_with_a_secret)
        assert breaker.last_error is not None
        await trio.sleep(36)
        assert await breaker.call(answer) == "fine"
        assert breaker.last_error is None
    gc.collect()
    assert [each() for each in kept] == [None] * 3


async def test_a_listener_is_told_after_the_change_and_outside_of_the_call() -> None:
    breaker = CircuitBreaker("billing", TWO)
    told: list[tuple[str, str]] = []

    def listen(event: BreakerChanged) -> None:
        assert breaker.state is event.new
        told.append((event.new.name, event.why))
        if isinstance(event.new, Open):
            breaker.seen_alive()  # It may use the breaker itself.

    end = breaker.subscribe(listen)
    trip(breaker)
    assert told == []
    await wait_all_tasks_blocked()
    assert told == [
        ("open", "a call failed: ConnectionRefusedError: down"),
        ("half_open", "the service was seen alive"),
    ]
    end()
    trip(breaker)
    await wait_all_tasks_blocked()
    assert len(told) == 2


async def test_a_listener_or_emit_that_raises_harms_nobody() -> None:
    def fail(event: object) -> None:
        raise RuntimeError("the observer is broken")

    def leave(event: object) -> None:
        raise SystemExit(3)

    told: list[BreakerChanged] = []
    breaker = CircuitBreaker("billing", TWO, emit=fail)
    for listener in (fail, leave, told.append):
        breaker.subscribe(listener)
    with capture_logs() as lines:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await breaker.call(refuse)
        await wait_all_tasks_blocked()
        breaker.seen_alive()
        await wait_all_tasks_blocked()
    assert [event.new.name for event in told] == ["open", "half_open"]
    assert [line["event"] for line in lines] == [
        "emit of a circuit breaker raised",
        *["listener of a circuit breaker raised and was removed"] * 2,
        "emit of a circuit breaker raised",
    ]
    assert {line["service"] for line in lines} == {"billing"}


async def test_changes_that_wait_for_listeners_are_bounded_and_the_dropped_ones_counted() -> None:
    breaker, told = CircuitBreaker("billing"), list[BreakerChanged]()
    breaker.subscribe(told.append)
    for number in range(MAX_UNHEARD + 20):
        breaker.force(Force.OPEN, by="ann", reason=str(number))
    await wait_all_tasks_blocked()
    assert len(told) == MAX_UNHEARD
    assert told[-1].why == f"ann: {MAX_UNHEARD + 19}"
    assert breaker.stats.unheard == 20


async def test_figures_for_metrics_add_up(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", TWO)
    hung = breaker.admit()
    trip(breaker)
    hung.succeeded()
    await trio.sleep(10)
    assert breaker.seconds_open() == 10
    with pytest.raises(errors.CircuitOpen):
        breaker.admit()
    breaker.seen_alive()
    await trio.sleep(5)
    breaker.admit().succeeded()
    breaker.admit().failed(TypeError())
    breaker.admit().cancelled()
    breaker.force(Force.OPEN, by="ann", reason="maintenance", seconds=60)
    await trio.sleep(100)
    stats = breaker.stats
    assert breaker.seconds_open() == 70
    assert (stats.succeeded, stats.failed, stats.ignored, stats.cancelled) == (2, 2, 1, 1)
    assert (stats.rejected, stats.late) == (1, 1)
    assert stats.transitions == {
        ("closed", "open"): 1,
        ("open", "half_open"): 1,
        ("half_open", "closed"): 1,
        ("closed", "forced_open"): 1,
        ("forced_open", "half_open"): 1,
    }


async def test_metrics_only_shows_what_a_policy_would_do(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", TWO)
    breaker.force(Force.METRICS_ONLY, by="ann", reason="try a policy")
    for _ in range(5):
        with pytest.raises(ConnectionRefusedError):
            await breaker.call(refuse)
    assert (breaker.state.name, breaker.stats.would_open, breaker.stats.failed) == ("metrics_only", 2, 5)
    await trio.sleep(600)
    assert isinstance(breaker.state, HalfOpen)


async def test_calls_without_tickets_are_told_only_when_something_is_to_be_remembered() -> None:
    breaker = CircuitBreaker("redis", TWO)
    assert breaker.calm
    began = breaker.generation
    breaker.report(ConnectionResetError(), began)
    assert not breaker.calm
    breaker.report(None, began)
    assert breaker.calm
    breaker.report(ConnectionResetError(), began)
    breaker.report(ConnectionResetError(), began)
    assert isinstance(breaker.state, Open)
    assert not breaker.calm
    breaker.report(None, began)
    assert breaker.stats.late == 1
    assert not CircuitBreaker("redis", BreakerPolicy(trips=(FailureRate(0.5),))).calm


async def test_a_call_that_hangs_and_then_fails_counts_once_as_slow_and_once_as_failed(
    autojump_clock: MockClock,
) -> None:
    trips = (SlowRate(1.0, slow_after=2.0, calls=9, min_calls=9), Consecutive(3))
    breaker = CircuitBreaker("billing", BreakerPolicy(trips=trips))
    for failures in (1, 2):
        ticket = breaker.admit()
        await trio.sleep(3)
        assert isinstance(breaker.state, Closed)
        assert breaker.stats.slow == failures
        ticket.failed(ConnectionResetError())
    with breaker.admit(), trio.move_on_after(5):
        await trio.sleep_forever()
    state = breaker.state
    assert isinstance(state, Closed)
    assert (state.tally.timed, state.tally.ended) == (3, 3)
    assert breaker.stats.slow == 3


async def test_hanging_calls_open_it_at_the_moment_they_became_slow(autojump_clock: MockClock) -> None:
    policy = BreakerPolicy(trips=(SlowRate(1.0, slow_after=2.0, calls=2, min_calls=2),))
    breaker = CircuitBreaker("billing", policy, random=random.Random(1))
    for _ in range(2):
        breaker.admit()
        await trio.sleep(1)
    await trio.sleep(8)
    state = breaker.state
    assert isinstance(state, Open)
    assert state.since == 3.0


async def test_a_slow_probe_opens_it_again(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", BreakerPolicy(trips=(SlowRate(1.0, 2.0, 1, 1), Consecutive(1))))
    trip(breaker)
    breaker.seen_alive()
    with breaker.admit():
        await trio.sleep(3)
    assert isinstance(breaker.state, Open)
    assert breaker.stats.slow == 1


async def test_a_forgotten_probe_ends_by_itself_and_its_late_result_is_fenced(
    autojump_clock: MockClock,
) -> None:
    breaker = CircuitBreaker("billing", TWO)
    trip(breaker)
    breaker.seen_alive()
    forgotten = breaker.admit()
    assert forgotten.is_probe
    await trio.sleep(15)
    state = breaker.state
    assert isinstance(state, Open)
    assert state.since == 10.0
    forgotten.succeeded()
    assert breaker.state is state
    assert breaker.stats.late == 1


async def test_what_a_group_holds_besides_the_end_of_a_probe_comes_out(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", TWO)
    trip(breaker)
    breaker.seen_alive()

    async def clean_up_badly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    with pytest.raises(ExceptionGroup):
        async with breaker, trio.open_nursery() as nursery:
            nursery.start_soon(clean_up_badly)
            nursery.start_soon(trio.sleep_forever)
    assert isinstance(breaker.state, Open)
    assert breaker.state.openings == 2


async def test_a_probe_that_fails_by_itself_tells_its_own_error(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", TWO)
    trip(breaker)
    breaker.seen_alive()
    with pytest.raises(trio.TooSlowError):
        async with breaker:
            with trio.fail_after(1):
                await trio.sleep_forever()
    assert isinstance(breaker.state, Open)
    assert isinstance(breaker.last_error, trio.TooSlowError)


async def test_the_registry_keeps_what_is_left_out_and_takes_what_is_given() -> None:
    first = breakers().get("mail", TWO, actor="app/mail", judge=judge_by(ignored=OSError))
    second = breakers().get("mail", TWO)
    assert second is first
    assert first.actor == "app/mail"
    for _ in range(3):
        second.admit().failed(OSError())
    assert first.stats.ignored == 3
    third = breakers().get("mail", TWO, actor="app/mail2", judge_result=lambda result: Outcome.FAILURE)
    assert await third.call(answer) == "fine"
    assert (first.actor, first.stats.failed) == ("app/mail2", 1)
    with pytest.raises(ValueError, match=r"'mail' exists with another policy, .*Consecutive\(failures=2\)"):
        breakers().get("mail")


async def test_retry_after_is_never_nothing_nor_not_a_number(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker("billing", TWO)
    trip(breaker)
    for _ in range(200):
        await trio.sleep(1.7)
        rejection = breaker.rejection()
        if rejection is None:
            ticket = breaker.admit()
            await trio.sleep(0.5)
            rejection = breaker.rejection()
            assert rejection is not None
            assert rejection.state == "half_open"
            ticket.failed(OSError())
        assert rejection.retry_after is not None
        assert 0 < rejection.retry_after < math.inf
