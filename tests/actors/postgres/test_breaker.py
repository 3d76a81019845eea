"""What statements tell the circuit breaker of their pool, on a database in memory, in virtual time."""

from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio
from trio.testing import MockClock

from resprout.actors.connection.policy import KeeperPolicy
from resprout.actors.postgres import PoolPolicy, PoolRefused, PostgresClient
from resprout.runtime import CircuitOpen, PoolExhausted, ServiceError
from resprout.runtime.breaker_policy import BreakerPolicy, Consecutive

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import FakeConnection, FakeServer, Keep, Kept

THREE = KeeperPolicy(breaker=BreakerPolicy(trips=(Consecutive(3),)))


def is_open(it: "Kept") -> bool:
    return it.gate.live is None and it.gate.held is not None


async def test_late_statements_open_it_also_those_of_transactions(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(keeper=THREE)) as it:
        db = PostgresClient(it.gate, timeout=0.5)
        for _ in range(3):
            async with db.acquire() as held:
                fake.takes = 1.0
                with pytest.raises(ServiceError):
                    await held.fetchval("SELECT 1")
                fake.takes = 0.001
        assert is_open(it)
        with pytest.raises(CircuitOpen):
            await db.fetchval("SELECT 1")


async def test_an_answer_in_a_transaction_counts_as_one_too(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(keeper=THREE)) as it:
        db = PostgresClient(it.gate, timeout=0.5)
        for _ in range(5):
            async with db.acquire() as held:
                fake.takes = 1.0
                with pytest.raises(ServiceError):
                    await held.fetchval("SELECT 1")
                fake.takes = 0.001
                await held.fetchval("SELECT 1")
        assert not is_open(it)


async def test_a_deadline_spent_in_line_is_not_held_against_the_server(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    async with kept(fake, PoolPolicy(max_size=1, max_waiting=100, keeper=THREE)) as it:
        db = PostgresClient(it.gate)
        fake.takes = 10.0

        async def work() -> None:
            with pytest.raises(ServiceError):
                await db.fetchval("SELECT 1", timeout=1.0)

        for _ in range(4):
            async with trio.open_nursery() as nursery, db.acquire():
                nursery.start_soon(work)
                await trio.sleep(0.8)
        assert not is_open(it)


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        (asyncpg.DiskFullError("no space left"), True),
        (asyncpg.OutOfMemoryError("no memory left"), True),
        (asyncpg.UniqueViolationError("twice"), False),
        (asyncpg.QueryCanceledError("by an operator"), False),
    ],
)
async def test_a_server_short_of_something_opens_it_and_any_other_answer_does_not(
    fake: "FakeServer",
    kept: "Keep",
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    answer: asyncpg.PostgresError,
    opens: bool,
) -> None:
    async with kept(fake, PoolPolicy(keeper=THREE)) as it:

        async def refuse(self: "FakeConnection", sql: str, *args: object) -> object:
            raise answer

        monkeypatch.setattr(type(fake.connections[0]), "fetchval", refuse)
        for _ in range(3):
            with pytest.raises(type(answer)):
                await PostgresClient(it.gate).fetchval("SELECT 1")
        assert is_open(it) == opens


async def test_with_all_connections_held_everybody_is_refused_at_his_deadline_and_the_log_stays_short(
    fake: "FakeServer", kept: "Keep", autojump_clock: MockClock
) -> None:
    refused: dict[float, float] = {}
    async with kept(fake, PoolPolicy(max_size=3, max_waiting=1000)) as it, trio.open_nursery() as nursery:
        db = PostgresClient(it.gate)
        for _ in range(3):
            await nursery.start(hold, db)

        async def wait(timeout: float) -> None:
            began = trio.current_time()
            with pytest.raises(PoolExhausted):
                await db.fetchval("SELECT 1", timeout=timeout)
            refused[timeout] = trio.current_time() - began

        async with trio.open_nursery() as callers:
            for n in range(1, 501):
                callers.start_soon(wait, n / 100)
        nursery.cancel_scope.cancel()
    assert len(refused) == 500
    assert all(waited == pytest.approx(timeout) for timeout, waited in refused.items())
    levels = [event.log_level() for event in it.seen(PoolRefused)]
    assert len(levels) == 500
    assert levels.count("warning") == 9  # The 1st, 2nd, 4th, ..., 256th.


async def hold(db: PostgresClient, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    async with db.acquire():
        task_status.started()
        await trio.sleep(60)
