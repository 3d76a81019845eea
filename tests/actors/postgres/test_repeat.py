"""Transactions that Postgres asks to run again."""

import random
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.postgres import PoolPolicy, PostgresClient, PostgresConnection, TransactionRepeated
from resprout.actors.postgres.repeat import RepeatPolicy, pause_before_repeat
from resprout.testing import LocalServer

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import Keep


@pytest.mark.real
async def test_concurrent_serializable_increments_all_count(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with kept(postgres_server.url, PoolPolicy(max_size=4)) as it:
        db = PostgresClient(it.gate)
        await db.execute("CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)")
        runs = 0

        async def increment(tx: PostgresConnection, by: int) -> int:
            nonlocal runs
            runs += 1
            n = await tx.fetchval("SELECT n FROM counter", of=int)
            await tx.execute("UPDATE counter SET n = $1", n + by)
            return n + by

        results: list[int] = []

        async def several() -> None:
            for _ in range(5):
                results.append(
                    await db.run_in_transaction(increment, 2, isolation="serializable", attempts=100)
                )

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(several)
        assert await db.fetchval("SELECT n FROM counter") == 40
        assert sorted(results) == list(range(2, 42, 2))
        assert runs > 20  # Else nothing was repeated.
        repeats = it.seen(TransactionRepeated)
        assert len(repeats) == runs - 20
        assert all(isinstance(event, TransactionRepeated) and event.retry_after > 0 for event in repeats)
        it.pool.slots.check()


@pytest.mark.real
async def test_of_two_that_deadlock_both_are_done_in_the_end(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with kept(postgres_server.url, PoolPolicy(max_size=2)) as it:
        db = PostgresClient(it.gate, timeout=20)
        await db.execute("CREATE TABLE t (id int, n int); INSERT INTO t VALUES (1, 0), (2, 0)")

        async def both(tx: PostgresConnection, first: int, second: int) -> None:
            await tx.execute("UPDATE t SET n = n + 1 WHERE id = $1", first)
            await trio.sleep(0.1)
            await tx.execute("UPDATE t SET n = n + 1 WHERE id = $1", second)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: db.run_in_transaction(both, 1, 2))
            nursery.start_soon(lambda: db.run_in_transaction(both, 2, 1))
        assert await db.fetchval("SELECT sum(n) FROM t") == 4


@pytest.mark.real
async def test_no_other_error_is_repeated_and_the_last_one_comes_out(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with kept(postgres_server.url) as it:
        db = PostgresClient(it.gate)
        await db.execute("CREATE TABLE t (id int PRIMARY KEY)")
        runs = 0

        async def fail(tx: PostgresConnection, sql: str) -> None:
            nonlocal runs
            runs += 1
            await tx.execute(sql)

        with pytest.raises(asyncpg.DivisionByZeroError):
            await db.run_in_transaction(fail, "SELECT 1 / 0")
        assert runs == 1
        always = "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"
        with pytest.raises(asyncpg.SerializationError):
            await db.run_in_transaction(fail, always, attempts=3)
        assert runs == 1 + 3
        with pytest.raises(ValueError, match="attempts must be at least 1, not 0"):
            await db.run_in_transaction(fail, "SELECT 1", attempts=0)


@given(attempts=st.integers(1, 2000), left=st.floats(-1.0, 60.0), seed=st.integers())
def test_a_repeat_begins_only_within_the_count_and_the_time(attempts: int, left: float, seed: int) -> None:
    policy = RepeatPolicy(attempts=50)
    pause = pause_before_repeat(
        asyncpg.SerializationError("again"), attempts, left, policy, random.Random(seed)
    )
    if pause is not None:
        assert attempts < 50
        assert 0 < pause < left
