"""The pool on a database in memory, in virtual time."""

import math
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.actors.connection.events import AttemptFailed, ConnectionChanged, Recovered
from resprout.actors.connection.on_down import FAIL_FAST, OnDown
from resprout.actors.connection.states import BackingOff, Degraded, Ready
from resprout.actors.postgres import (
    WAIT,
    Census,
    ConnectionClosed,
    HeldTooLong,
    Pool,
    PoolPolicy,
    PoolRefused,
    PostgresClient,
)
from resprout.runtime import (
    DeadlineExceeded,
    Draining,
    OutcomeUnknown,
    PoolExhausted,
    Sent,
    ServiceError,
    Unavailable,
)

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import FakeServer, Keep


async def hold(db: PostgresClient, seconds: float, task_status: trio.TaskStatus[None]) -> None:
    """Have one connection for so long."""
    async with db.acquire():
        task_status.started()
        await trio.sleep(seconds)


def holding(db: PostgresClient, seconds: float) -> Callable[..., Awaitable[None]]:
    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await hold(db, seconds, task_status)

    return run


async def test_callers_share_the_connections_and_all_go_back(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=3)) as it:
        db = PostgresClient(it.gate)
        answers: list[object] = []

        async def ask(number: int) -> None:
            answers.append(await db.fetchval("SELECT $1", number))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
        await trio.sleep(1)  # A connection may still be on its way.
        assert sorted(answers) == list(range(20))  # type: ignore[type-var]  # They are numbers.
        assert it.pool.census() == Census(idle=len(fake.connections), empty=3 - len(fake.connections))
        it.pool.slots.check()


async def test_exhaustion_is_a_typed_error_with_the_facts_after_the_deadline(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=2)) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        for _ in range(2):
            await nursery.start(holding(db, 60))
        began = trio.current_time()
        with pytest.raises(PoolExhausted) as caught:
            await db.fetchval("SELECT 1")
        assert trio.current_time() - began == pytest.approx(5.0)
        assert caught.value.sent is Sent.NO
        assert caught.value.retry_after is not None
        for fact in ("2 of 2 connections in use", "has held one for 5"):
            assert fact in str(caught.value)
        (event,) = it.seen(PoolRefused)
        assert isinstance(event, PoolRefused)
        assert (event.in_use, event.waited) == (2, pytest.approx(5.0))
        nursery.cancel_scope.cancel()


async def test_the_line_is_bounded(fake: "FakeServer", kept: "Keep", autojump_clock: MockClock) -> None:
    async with kept(fake, PoolPolicy(max_size=1, max_waiting=2)) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        await nursery.start(holding(db, 4))
        for _ in range(2):
            nursery.start_soon(db.execute, "SELECT 1")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        with pytest.raises(PoolExhausted, match="2 callers wait already"):
            await db.execute("SELECT 1")
        assert trio.current_time() == began


async def test_a_waiter_who_gives_up_takes_no_connection_with_him(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=1)) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        await nursery.start(holding(db, 2))
        with trio.move_on_after(1):
            await db.execute("SELECT 1")
        assert len(it.pool.line) == 0
        await trio.sleep(2)
        assert it.pool.census() == Census(idle=1)
        assert await db.fetchval("SELECT $1", 3) == 3


async def test_a_waiter_cancelled_as_he_is_served_gives_the_connection_back(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=1)) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        await nursery.start(holding(db, 2))
        with trio.move_on_after(2):  # The very moment.
            await db.execute("SELECT 1")
        await trio.sleep(1)
        assert it.pool.census() == Census(idle=1)
        it.pool.slots.check()


async def test_the_line_is_served_in_order(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=1)) as it, trio.open_nursery() as nursery:
        db, order = PostgresClient(it.gate), list[int]()
        await nursery.start(holding(db, 1))

        async def ask(number: int) -> None:
            await db.execute("SELECT 1")
            order.append(number)

        for number in range(5):
            nursery.start_soon(ask, number)
            await wait_all_tasks_blocked()
    assert order == [0, 1, 2, 3, 4]


async def test_a_lasting_overload_sends_away_those_who_waited_long(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    fake.takes = 0.05
    async with kept(fake, PoolPolicy(max_size=2)) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        refused: list[float] = []

        async def ask() -> None:
            while True:
                began = trio.current_time()
                try:
                    await db.execute("SELECT 1")
                except PoolExhausted:
                    refused.append(trio.current_time() - began)
                    await trio.sleep(0.1)

        for _ in range(16):
            nursery.start_soon(ask)
        await trio.sleep(0.9)
        assert refused == []
        await trio.sleep(5)
        assert refused
        assert max(refused) < 1.0  # Not the five seconds of the deadline.
        nursery.cancel_scope.cancel()


async def test_only_one_connection_is_being_opened_at_a_time(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    fake.connecting_takes, fake.takes = 0.5, 1.0
    async with kept(fake, PoolPolicy(max_size=10)) as it, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(PostgresClient(it.gate, timeout=30).execute, "SELECT 1")
    assert fake.most_under_way == 1
    assert len(fake.attempts) > 3


async def test_a_broken_connection_is_replaced_and_the_rest_works_on(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(min_size=3)) as it:
        await trio.sleep(1)
        assert it.pool.census() == Census(empty=7, idle=3)
        pool = it.pool
        fake.connections[1].terminate()
        assert pool.census() == Census(empty=8, idle=2)
        await trio.sleep(1)
        assert it.pool is pool
        assert pool.census() == Census(empty=7, idle=3)
        (closed,) = it.seen(ConnectionClosed)
        assert isinstance(closed, ConnectionClosed)
        assert not closed.planned


async def test_a_server_that_takes_no_more_connections_makes_the_pool_degraded(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=4)) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        fake.refuses = ConnectionError("too many connections")
        await nursery.start(holding(db, 3))
        with pytest.raises(PoolExhausted):
            await db.using(timeout=2).execute("SELECT 1")
        assert isinstance(it.gate.state, Degraded)
        assert it.seen(AttemptFailed)
        fake.recover()
        await trio.sleep(30)
        assert isinstance(it.gate.state, Ready)


async def test_when_the_last_connection_goes_and_no_other_comes_callers_are_told_at_once(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake) as it:
        db = PostgresClient(it.gate)
        fake.crash()
        with pytest.raises(Unavailable):
            await db.execute("SELECT 1")
        await trio.sleep(1)
        assert isinstance(it.gate.state, BackingOff)
        began = trio.current_time()
        with pytest.raises(Unavailable) as caught:
            await db.execute("SELECT 1")
        assert trio.current_time() == began
        assert caught.value.retry_after is not None
        assert isinstance(caught.value.cause, ConnectionRefusedError)


async def test_those_in_line_learn_of_the_outage_when_the_last_connection_is_given_up(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=1)) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        await nursery.start(holding(db, 2))
        told_at: list[float] = []

        async def ask() -> None:
            with pytest.raises(Unavailable):
                await db.execute("SELECT 1")
            told_at.append(trio.current_time())

        nursery.start_soon(ask)
        await trio.sleep(1)
        fake.crash()
        await trio.sleep(1.1)
        assert told_at == [pytest.approx(trio.current_time() - 0.1, abs=0.05)]


async def test_an_hour_of_outage_ends_with_the_first_attempt_that_works(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake) as it:
        db = PostgresClient(it.gate)
        fake.crash()
        await trio.sleep(3600)
        assert isinstance(it.gate.state, BackingOff)
        fake.recover()
        back_at = trio.current_time()
        assert await db.using(on_down=WAIT, timeout=60).fetchval("SELECT $1", 7) == 7
        assert trio.current_time() - back_at < 31
        assert max(b - a for a, b in zip(fake.attempts, fake.attempts[1:], strict=False)) < 31
        assert len(it.seen(Recovered)) == 1
        it.pool.slots.check()


async def test_a_server_that_is_absent_at_the_start_is_found_when_it_comes(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    fake.refuses = ConnectionRefusedError("not yet")
    async with kept(fake, ready=False) as it:
        db = PostgresClient(it.gate, on_down=WAIT, timeout=100)
        await trio.sleep(600)
        fake.recover()
        assert await db.fetchval("SELECT $1", 1) == 1
        states = [event.new.name for event in it.events if isinstance(event, ConnectionChanged)]
        assert states[-1] == "ready"


async def test_a_statement_on_a_connection_that_died_unused_is_given_another(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(min_size=2)) as it:
        await trio.sleep(1)
        fake.connections[-1].is_quiet = lambda: True  # type: ignore[method-assign]  # Dead, unnoticed.
        fake.connections[-1].closed = True
        assert await PostgresClient(it.gate).fetchval("SELECT $1", 1) == 1


async def test_a_lost_answer_is_unknown_unless_the_statement_may_run_twice(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    fake.takes = 1.0
    async with kept(fake, PoolPolicy(min_size=1)) as it:
        db = PostgresClient(it.gate, on_down=WAIT)
        for idempotent in (False, True):
            await trio.sleep(5)
            before = len(fake.statements)
            async with trio.open_nursery() as nursery:

                async def cut() -> None:
                    await trio.sleep(0.5)
                    fake.connections[0].terminate()

                nursery.start_soon(cut)
                if idempotent:
                    assert await db.fetchval("UPDATE $1", 5, idempotent=True) == 5
                else:
                    with pytest.raises(OutcomeUnknown) as caught:
                        await db.fetchval("UPDATE $1", 5)
                    assert caught.value.sent is Sent.MAYBE
            runs = fake.statements[before:].count("UPDATE $1")
            assert runs == 1 + idempotent


@pytest.mark.parametrize("on_down", [FAIL_FAST, WAIT])
async def test_what_may_have_run_once_is_never_called_unsent_later(
    on_down: OnDown, fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    fake.takes = 1.0
    async with kept(fake, PoolPolicy(min_size=1)) as it, trio.open_nursery() as nursery:
        await trio.sleep(5)

        async def crash() -> None:
            await trio.sleep(0.5)
            fake.crash()

        nursery.start_soon(crash)
        with pytest.raises(ServiceError) as caught:
            await PostgresClient(it.gate, on_down=on_down).execute("UPDATE", idempotent=True)
        assert caught.value.sent is Sent.MAYBE


async def test_a_deadline_is_kept_to_the_moment(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    fake.takes = 100.0
    async with kept(fake, ready=False) as it:
        fake.takes = 0.001
        await it.gate.wait_link(trio.current_time() + 1)
        fake.takes = 100.0
        db = PostgresClient(it.gate)
        for timeout, idempotent, kind in ((5.0, False, OutcomeUnknown), (0.5, True, DeadlineExceeded)):
            began = trio.current_time()
            with pytest.raises(kind):
                await db.execute("UPDATE", timeout=timeout, idempotent=idempotent)
            assert trio.current_time() - began == pytest.approx(timeout)
        fake.takes = 0.001
        assert await db.fetchval("SELECT $1", 1) == 1
        assert it.pool.slots.all[0].connection is not None
        assert it.pool.slots.all[0].connection.deadline == math.inf


async def test_connections_are_replaced_before_they_are_half_an_hour_old(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(min_size=5)) as it:
        await trio.sleep(1)
        first = set(fake.connections)
        await trio.sleep(1602)
        assert set(fake.connections) >= first - {None}
        await trio.sleep(200)
        assert not first & set(fake.connections)
        assert it.pool.census() == Census(empty=5, idle=5)
        assert all(
            isinstance(event, ConnectionClosed) and event.planned for event in it.seen(ConnectionClosed)
        )
        closings = {round(at) for at in fake.attempts[5:10]}
        assert len(closings) > 1  # Not all at once.


async def test_what_is_not_needed_is_closed_after_ten_minutes(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=5)) as it:
        fake.takes = 1.0
        db = PostgresClient(it.gate)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                await nursery.start(holding(db, 20))
        assert len(fake.connections) == 5
        await trio.sleep(500)
        assert len(fake.connections) == 5
        await trio.sleep(200)
        assert it.pool.census() == Census(empty=4, idle=1)


async def test_a_holder_of_half_a_minute_is_reported_once_with_his_stack(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake) as it, trio.open_nursery() as nursery:
        await nursery.start(holding(PostgresClient(it.gate), 300))
        await trio.sleep(29)
        assert it.seen(HeldTooLong) == []
        await trio.sleep(250)
        (event,) = it.seen(HeldTooLong)
        assert isinstance(event, HeldTooLong)
        assert event.seconds == pytest.approx(30, abs=2)
        assert "in hold" in event.stack
        nursery.cancel_scope.cancel()


async def test_a_connection_goes_back_reset_after_acquire_and_as_it_is_after_a_statement(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake) as it:
        db = PostgresClient(it.gate)
        await db.execute("SELECT 1")
        assert fake.connections[0].resets == 0
        async with db.acquire() as connection:
            await connection.execute("SET x TO 1")
        assert fake.connections[0].resets == 1
        fake.connections[0].dirty = True
        await db.execute("SET x TO 1")
        assert fake.connections[0].resets == 2
        with pytest.raises(RuntimeError, match="was given back"):
            await connection.execute("SELECT 1")


async def test_one_held_connection_serves_one_task_at_a_time(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    fake.takes = 1.0
    async with (
        kept(fake) as it,
        PostgresClient(it.gate).acquire() as connection,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(connection.execute, "SELECT 1")
        await trio.sleep(0.5)
        with pytest.raises(RuntimeError, match="busy"):
            await connection.execute("SELECT 2")


async def test_a_drain_refuses_new_work_and_waits_for_the_old(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        await nursery.start(holding(db, 3))
        began = trio.current_time()
        it.gate.drain()
        with pytest.raises(Draining):
            await db.execute("SELECT 1")
        await it.gate.wait_stopped()
        assert trio.current_time() - began == pytest.approx(3, abs=0.1)
        await trio.sleep(0.1)
        assert fake.connections == []


async def test_busy_connections_do_not_make_the_pool_look_dead(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=1)) as it, trio.open_nursery() as nursery:
        pool = it.pool
        await nursery.start(holding(PostgresClient(it.gate), 500))
        await trio.sleep(400)
        assert it.pool is pool
        assert isinstance(it.gate.state, Ready)
        nursery.cancel_scope.cancel()


async def test_a_server_that_is_full_is_alive_and_those_at_work_are_left_alone(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=1)) as it, trio.open_nursery() as nursery:
        pool = it.pool
        await nursery.start(holding(PostgresClient(it.gate), 500))
        fake.refuses = asyncpg.TooManyConnectionsError("sorry, too many clients already")
        await trio.sleep(400)
        assert it.pool is pool
        assert isinstance(it.gate.state, Ready)
        assert len(fake.connections) == 1
        nursery.cancel_scope.cancel()


async def test_a_server_that_goes_silent_is_found_within_45_seconds(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(min_size=2)) as it:
        await trio.sleep(1)
        fake.takes = fake.connecting_takes = math.inf
        began = trio.current_time()
        while isinstance(it.gate.state, Ready | Degraded):
            await trio.sleep(0.1)
        assert trio.current_time() - began <= 45
        fake.takes = fake.connecting_takes = 0.01
        assert await PostgresClient(it.gate, on_down=WAIT, timeout=60).fetchval("SELECT $1", 1) == 1


async def test_a_server_that_stays_read_only_costs_no_connection_for_each_refused_write(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake) as it:
        await trio.sleep(6)
        for _ in range(10):
            it.pool.renew("the server is read-only")
            await trio.sleep(0.1)
        assert len(fake.attempts) == 2


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_no_slot_is_lost(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock, seed: int
) -> None:
    rng = random.Random(seed)
    size = rng.randint(1, 5)
    wrong = 0

    async with kept(fake, PoolPolicy(max_size=size, min_size=rng.randint(1, size))) as it:

        async def user(number: int) -> None:
            nonlocal wrong
            db = PostgresClient(it.gate, timeout=rng.uniform(0.05, 3), idempotent=rng.random() < 0.5)
            for turn in range(30):
                word = f"{number}-{turn}"
                with trio.move_on_after(rng.choice([0.0, 0.001, 0.05, 1.0, 10.0])):
                    try:
                        match rng.randrange(3):
                            case 0:
                                wrong += await db.fetchval("SELECT $1", word) != word
                            case 1:
                                async with db.acquire() as held:
                                    wrong += await held.fetchval("SELECT $1", word) != word
                            case _:
                                async with db.transaction() as tx:
                                    wrong += await tx.fetchval("SELECT $1", word) != word
                                    await trio.sleep(rng.uniform(0, 0.1))
                    except ServiceError:
                        await trio.sleep(rng.uniform(0, 0.3))
                check(it.gate.live)

        async def fate() -> None:
            while True:
                await trio.sleep(rng.uniform(0.0, 0.5))
                match rng.randrange(5):
                    case 0 if fake.connections:
                        rng.choice(fake.connections).terminate()
                    case 1:
                        fake.crash()
                        await trio.sleep(rng.uniform(0, 1))
                        fake.recover()
                    case 2:
                        fake.takes = rng.choice([0.001, 0.01, 0.5])
                    case _:
                        fake.connecting_takes = rng.choice([0.001, 0.2])
                check(it.gate.live)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fate)
            async with trio.open_nursery() as users:
                for number in range(12):
                    users.start_soon(user, number)
            nursery.cancel_scope.cancel()
        fake.recover()
        fake.takes = fake.connecting_takes = 0.001
        assert await PostgresClient(it.gate, on_down=WAIT, timeout=60).fetchval("SELECT $1", 1) == 1
        await trio.sleep(5)
        assert wrong == 0
        counts = it.pool.census()
        assert (counts.in_use, counts.connecting, counts.size) == (0, 0, size)
        assert counts.open == len(fake.connections)
        check(it.pool)


def check(pool: object) -> None:
    """The law of conservation."""
    if isinstance(pool, Pool):
        pool.slots.check()
        assert pool.census().size == pool.policy.max_size
