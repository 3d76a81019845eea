"""What each error says about Postgres: RESILIENCE's table of failures, successes and things that say nothing."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio

from resprout.actors.connection import AttemptFailed, Degraded, FailureKind
from resprout.actors.postgres import PoolPolicy, PostgresClient
from resprout.runtime import DegradedReadOnly, OutcomeUnknown, PoolExhausted
from resprout.runtime.breakers import breakers
from resprout.testing import LocalServer

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import FakeServer, Keep, Kept


class Says(Enum):
    """What a row of the table means here."""

    LOST = "the connection is closed"
    FAILURE = "the breaker counts it"
    SUCCESS = "an answer: earlier failures are forgotten"
    DEGRADED = "the pool serves in part; the breaker counts nothing"
    IGNORED = "it says nothing"


async def late(db: PostgresClient) -> None:
    await db.execute("SELECT pg_sleep(60)", timeout=0.1)


async def late_by_the_servers_clock(db: PostgresClient) -> None:
    await db.execute("SET statement_timeout = 50; SELECT pg_sleep(60)")


async def late_in_a_transaction(db: PostgresClient) -> None:
    async with db.transaction() as tx:
        try:
            await tx.execute("SELECT pg_sleep(60)", timeout=0.1)
        except TimeoutError:
            raise asyncpg.QueryCanceledError from None


async def cancelled(db: PostgresClient) -> None:
    with trio.move_on_after(0.05):
        await db.execute("SELECT pg_sleep(60)")
    raise InterruptedError


async def exhausted(db: PostgresClient) -> None:
    async with db.acquire():
        await db.execute("SELECT 1", timeout=0.05)


def raising(code: str) -> Callable[[PostgresClient], Awaitable[None]]:
    async def do(db: PostgresClient) -> None:
        await db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$")

    return do


Do = Callable[[PostgresClient], Awaitable[None]]

TABLE: list[tuple[str, Do, type[Exception], Says]] = [
    *((code, raising(code), OutcomeUnknown, Says.LOST) for code in ("08006", "57P01", "57P02", "57P03")),
    ("timeout", late, OutcomeUnknown, Says.FAILURE),
    ("timeout of the server's", late_by_the_servers_clock, asyncpg.QueryCanceledError, Says.IGNORED),
    ("timeout in a transaction", late_in_a_transaction, asyncpg.QueryCanceledError, Says.FAILURE),
    ("25006", raising("25006"), DegradedReadOnly, Says.DEGRADED),
    *(
        (code, raising(code), asyncpg.InsufficientResourcesError, Says.FAILURE)
        for code in ("53100", "53200", "53300")
    ),
    *(
        (code, raising(code), asyncpg.PostgresError, Says.SUCCESS)
        for code in ("22012", "23505", "42P01", "40001", "40P01")
    ),
    ("cancelled", cancelled, InterruptedError, Says.IGNORED),
    ("pool exhausted", exhausted, PoolExhausted, Says.IGNORED),
]


@pytest.mark.real
async def test_each_row_of_the_table_counts_as_it_says(kept: "Keep", postgres_server: LocalServer) -> None:
    for name, do, error, says in TABLE:  # One server for all.
        breakers().forget("test/db")
        async with kept(postgres_server.url, PoolPolicy(max_size=1)) as it:
            await check(name, do, error, says, it)


async def check(name: str, do: Do, error: type[Exception], says: Says, it: "Kept") -> None:
    gate, connection, breaker = it.gate, it.pool.slots.all[0].connection, it.gate.fuse.breaker
    for _ in range(4):
        gate.failed(TimeoutError("late"))
    with pytest.raises(error):
        await do(PostgresClient(gate))
    assert connection is not None
    assert connection.is_closed() is (says is Says.LOST), name
    assert breaker.stats.failed == (5 if says is Says.FAILURE else 4), name
    if says is not Says.LOST:
        assert isinstance(gate.state, Degraded) is (says is Says.DEGRADED), name
        assert (breaker.state.name == "open") is (says is Says.FAILURE), name
        gate.failed(TimeoutError("late"))
        assert (breaker.state.name == "closed") is (says is Says.SUCCESS), name


async def test_a_server_without_a_free_connection_is_a_failed_attempt(
    kept: "Keep", fake: "FakeServer", autojump_clock: object
) -> None:
    fake.refuses = asyncpg.TooManyConnectionsError("sorry, too many clients already")
    async with kept(fake, ready=False) as it:
        await trio.sleep(60)
        failed = it.seen(AttemptFailed)
    assert len(failed) > 3
    assert {event.kind for event in failed if isinstance(event, AttemptFailed)} == {FailureKind.SERVICE}
