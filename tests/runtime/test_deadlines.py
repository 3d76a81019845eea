"""The one task that keeps the time: on time, in order, without growing."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.lowlevel import current_task, wait_task_rescheduled
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.runtime.deadlines import Timekeeper
from resprout.runtime.mailbox import Mailbox
from resprout.runtime.message import Call


class Expired(Exception):
    pass


@asynccontextmanager
async def clock() -> AsyncIterator[Timekeeper]:
    def expire(call: Call) -> None:
        call.fail(Expired())

    def fail(error: BaseException, owner: object) -> None:
        raise error

    keeper = Timekeeper(expire, fail)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        yield keeper
        nursery.cancel_scope.cancel()


async def wait_in_vain(keeper: Timekeeper, timeout: float) -> float:
    """Seconds until a call that nobody answers fails."""
    before = trio.current_time()
    call = Call("x", (), {}, current_task(), timeout, Mailbox())
    keeper.watch(call)
    try:
        await wait_task_rescheduled(call.abort)
    except Expired:
        return trio.current_time() - before
    raise AssertionError("nobody answers")


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from([0.5, 1.0, 5.0, 7.25])), min_size=1, max_size=30))
def test_every_call_expires_exactly_at_its_deadline(calls: list[tuple[float, float]]) -> None:
    waited: list[tuple[float, float]] = []

    async def caller(keeper: Timekeeper, start: float, timeout: float) -> None:
        await trio.sleep(start)
        waited.append((timeout, await wait_in_vain(keeper, timeout)))

    async def scenario() -> None:
        async with clock() as keeper, trio.open_nursery() as nursery:
            for start, timeout in calls:
                nursery.start_soon(caller, keeper, start, timeout)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    assert len(waited) == len(calls)
    assert all(abs(seconds - timeout) < 1e-6 for timeout, seconds in waited)


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=200))
def test_alarms_ring_once_in_their_order_and_cancelled_ones_never(plan: list[tuple[float, bool]]) -> None:
    rung: list[tuple[float, float]] = []

    async def scenario() -> None:
        async with clock() as keeper:
            start = trio.current_time()
            for seconds, cancelled in plan:
                moment = start + seconds
                alarm = keeper.at(moment, lambda due=moment: rung.append((due, trio.current_time())))  # type: ignore[misc]
                if cancelled:
                    alarm.cancel()
                    alarm.cancel()  # Twice is once.
            await trio.sleep(21)
            expected = sorted(start + seconds for seconds, cancelled in plan if not cancelled)
            assert [due for due, _ in rung] == expected
            assert all(abs(at - due) < 1e-6 for due, at in rung)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def test_an_alarm_set_while_the_clock_rings_is_not_missed(autojump_clock: MockClock) -> None:
    rung: list[float] = []
    async with clock() as keeper:
        start = trio.current_time()

        def ring() -> None:
            rung.append(trio.current_time() - start)
            if len(rung) < 4:
                keeper.at(trio.current_time() + 1, ring)

        keeper.at(start + 1, ring)
        await trio.sleep(10)
    assert rung == [1, 2, 3, 4]


async def test_an_earlier_deadline_wakes_the_clock_earlier(autojump_clock: MockClock) -> None:
    async with clock() as keeper, trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_vain, keeper, 100.0)
        await wait_all_tasks_blocked()
        assert await wait_in_vain(keeper, 2.0) == 2.0
        nursery.cancel_scope.cancel()


async def test_timeouts_renewed_all_the_time_do_not_pile_up() -> None:
    """An idle timeout of an hour that every message renews would keep an hour of them."""
    async with clock() as keeper:
        for _ in range(10_000):
            keeper.at(trio.current_time() + 3_600, lambda: None).cancel()
        assert len(keeper._alarms) < 200
        kept = keeper.at(trio.current_time() + 3_600, lambda: None)
        for _ in range(1_000):
            keeper.at(trio.current_time() + 60, lambda: None).cancel()
        assert kept in [alarm for _, _, alarm in keeper._alarms]


async def test_deadlines_computed_anew_for_each_call_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with clock() as keeper:
        for number in range(1_000):
            call = Call("x", (), {}, current_task(), 5 + number / 1_000, Mailbox())
            keeper.watch(call)
            call.task = None
            assert call.bucket is not None
            del call.bucket[call]
        assert await wait_in_vain(keeper, 1.0) == 1.0
        assert await wait_in_vain(keeper, 1.0) == 1.0
        assert len(keeper._buckets) < 100


async def test_no_deadline_means_none(autojump_clock: MockClock) -> None:
    async with clock() as keeper:
        with trio.move_on_after(10**6) as scope:
            await wait_in_vain(keeper, math.inf)
        assert scope.cancelled_caught
