"""Statements, held connections and transactions on a real Postgres."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio

from resprout.actors.postgres import WAIT, Census, ConnectionOpened, PoolPolicy, PostgresClient
from resprout.runtime import DeadlineExceeded, OutcomeUnknown, Phase, Unavailable
from resprout.testing import LocalServer

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import Keep, Kept

pytestmark = pytest.mark.real


@pytest.fixture
async def pooled(kept: "Keep", postgres_server: LocalServer) -> AsyncIterator["Kept"]:
    """A pool of three connections on a real server."""
    async with kept(postgres_server.url, PoolPolicy(max_size=3)) as it:
        yield it


@pytest.fixture
def db(pooled: "Kept") -> PostgresClient:
    return PostgresClient(pooled.gate)


async def test_every_kind_of_statement(db: PostgresClient) -> None:
    assert await db.execute("CREATE TABLE t (id int PRIMARY KEY, word text)") == "CREATE TABLE"
    assert await db.execute("INSERT INTO t VALUES ($1, $2)", 1, "one") == "INSERT 0 1"
    await db.executemany("INSERT INTO t VALUES ($1, $2)", [(2, "two"), (3, "three")])
    rows = await db.fetch("SELECT * FROM t ORDER BY id")
    assert [(row["id"], row["word"]) for row in rows] == [(1, "one"), (2, "two"), (3, "three")]
    row = await db.fetchrow("SELECT * FROM t WHERE id = $1", 2)
    assert row is not None
    assert row["word"] == "two"
    assert await db.fetchrow("SELECT * FROM t WHERE id = 9") is None
    assert await db.fetchval("SELECT count(*) FROM t", of=int) == 3
    assert await db.fetchval("SELECT word FROM t WHERE id = 9") is None
    with pytest.raises(TypeError, match="gave str, not int"):
        await db.fetchval("SELECT 'x'", of=int)


async def test_much_data_goes_both_ways(db: PostgresClient) -> None:
    await db.execute("CREATE TABLE t (word text)")
    await db.executemany("INSERT INTO t VALUES ($1)", [(str(n) * 1000,) for n in range(3000)], timeout=30)
    rows = await db.fetch("SELECT word FROM t", timeout=30)
    assert sum(len(row["word"]) for row in rows) == sum(len(str(n)) * 1000 for n in range(3000))


async def test_a_refused_statement_is_asyncpgs_own_error_and_costs_no_connection(
    db: PostgresClient, pooled: "Kept"
) -> None:
    await db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    await db.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await db.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await db.execute("SELEKT")
    with pytest.raises(asyncpg.InterfaceError):
        await db.execute("SELECT $1::int", 1, 2)
    with pytest.raises(asyncpg.DataError):
        await db.fetchval("SELECT $1::int", "no number")
    assert await db.fetchval("SELECT 1") == 1
    assert pooled.pool.census() == Census(empty=2, idle=1)


async def test_a_transaction_is_all_or_nothing(db: PostgresClient) -> None:
    await db.execute("CREATE TABLE t (id int)")
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES (1)")
    with suppress(LookupError):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (2)")
            raise LookupError
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES (3)")
        with suppress(LookupError):
            async with tx.transaction():
                await tx.execute("INSERT INTO t VALUES (4)")
                raise LookupError
        async with tx.transaction():
            await tx.execute("INSERT INTO t VALUES (5)")
    assert [row["id"] for row in await db.fetch("SELECT id FROM t ORDER BY id")] == [1, 3, 5]


async def test_a_cancelled_transaction_is_rolled_back(db: PostgresClient, pooled: "Kept") -> None:
    await db.execute("CREATE TABLE t (id int)")
    for pause in ("SELECT pg_sleep(60)", None):
        with trio.move_on_after(0.2) as scope:
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (1)")
                if pause is not None:
                    await tx.execute(pause)
                await trio.sleep(60)
        assert scope.cancelled_caught
    assert await db.fetchval("SELECT count(*) FROM t") == 0
    assert pooled.pool.census().in_use == 0


async def test_a_block_that_hides_a_failed_statement_is_told_that_nothing_was_committed(
    db: PostgresClient,
) -> None:
    await db.execute("CREATE TABLE t (id int PRIMARY KEY)")

    async def hides_it() -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(asyncpg.UniqueViolationError):
                await tx.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(asyncpg.InFailedSQLTransactionError, match="rolled back instead of committed"):
        await hides_it()
    assert await db.fetchval("SELECT count(*) FROM t") == 0


async def test_isolation_and_read_only_are_what_was_asked_for(db: PostgresClient) -> None:
    async with db.transaction(isolation="serializable") as tx:
        assert await tx.fetchval("SHOW transaction_isolation") == "serializable"
        with pytest.raises(ValueError, match="outermost"):
            async with tx.transaction(readonly=True):
                pass
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with db.transaction(readonly=True) as tx:
            await tx.execute("CREATE TABLE t (id int)")


async def test_a_held_connection_keeps_its_settings_and_the_next_user_does_not_see_them(
    db: PostgresClient,
) -> None:
    async with db.acquire() as connection:
        await connection.execute("SET application_name TO 'mine'")
        await connection.execute("SELECT pg_advisory_lock(1)")
        assert await connection.fetchval("SHOW application_name") == "mine"
        pid = await connection.fetchval("SELECT pg_backend_pid()")
    assert await db.fetchval("SELECT pg_backend_pid()") == pid
    assert await db.fetchval("SHOW application_name") == "resprout test/db"
    assert await db.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


@pytest.mark.parametrize("left_behind", ["SET work_mem TO '1MB'", "BEGIN", "LISTEN news"])
async def test_what_a_single_statement_left_behind_is_tidied_up(db: PostgresClient, left_behind: str) -> None:
    await db.execute(left_behind)
    async with db.transaction() as tx:
        assert await tx.fetchval("SHOW work_mem") == "4MB"
    assert await db.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0


async def test_a_statement_over_its_time_is_cancelled_on_the_server(
    db: PostgresClient, pooled: "Kept"
) -> None:
    began = trio.current_time()
    with pytest.raises(OutcomeUnknown):
        await db.execute("SELECT pg_sleep(60)", timeout=0.2)
    with pytest.raises(DeadlineExceeded) as late:
        await db.execute("SELECT pg_sleep(60)", timeout=0.2, idempotent=True)
    assert late.value.phase is Phase.READ
    with pytest.raises(DeadlineExceeded):
        await db.executemany("SELECT pg_sleep($1)", [(60,), (60,)], timeout=0.2, idempotent=True)
    assert trio.current_time() - began < 2
    still = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    assert await db.fetchval(still + " AND state = 'active'") == 0
    assert pooled.pool.census() == Census(empty=2, idle=1)


async def test_after_a_timeout_in_a_transaction_the_connection_is_in_step_and_the_work_undone(
    db: PostgresClient,
) -> None:
    await db.execute("CREATE TABLE t (id int)")

    async def takes_too_long() -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            await tx.execute("SELECT pg_sleep(60)", timeout=0.1)

    with pytest.raises(DeadlineExceeded, match="rolled back"):
        await takes_too_long()
    async with db.transaction() as tx:
        with pytest.raises(DeadlineExceeded):
            async with tx.transaction():
                await tx.execute("SELECT pg_sleep(60)", timeout=0.1)
        await tx.execute("INSERT INTO t VALUES (2)")
    assert [row["id"] for row in await db.fetch("SELECT id FROM t")] == [2]


async def test_a_killed_backend_costs_one_statement_and_one_connection(
    db: PostgresClient, pooled: "Kept"
) -> None:
    await db.execute("CREATE TABLE t (id int)")
    kill = "SELECT pg_terminate_backend($1)"
    async with db.acquire() as victim:
        pid = await victim.fetchval("SELECT pg_backend_pid()")
        async with trio.open_nursery() as nursery:

            async def work() -> None:
                with pytest.raises(OutcomeUnknown) as caught:
                    await victim.execute("SELECT pg_sleep(60)", timeout=60)
                assert isinstance(caught.value.cause, asyncpg.AdminShutdownError)

            nursery.start_soon(work)
            await trio.sleep(0.1)
            assert await db.fetchval(kill, pid) is True

    async def is_killed() -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            await db.execute(kill, await tx.fetchval("SELECT pg_backend_pid()"))
            await tx.execute("INSERT INTO t VALUES (2)")

    with pytest.raises(Unavailable, match="rolls the transaction back"):
        await is_killed()
    assert await db.fetchval("SELECT count(*) FROM t") == 0
    assert pooled.pool.census().in_use == 0
    pooled.pool.slots.check()


async def test_an_idle_connection_that_the_server_ends_is_replaced_unnoticed(
    db: PostgresClient, pooled: "Kept"
) -> None:
    pid = await db.fetchval("SELECT pg_backend_pid()")
    async with db.acquire() as other:
        mine = await other.fetchval("SELECT pg_backend_pid()")
        if mine == pid:
            pid = await db.fetchval("SELECT pg_backend_pid()")
        await other.execute("SELECT pg_terminate_backend($1)", pid)
        for _ in range(50):
            assert await db.fetchval("SELECT 1") == 1
    assert pooled.pool.census().in_use == 0


async def test_a_server_made_read_only_has_its_connections_replaced(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with kept(postgres_server.url, PoolPolicy(renew_after=0.1)) as pooled:
        await read_only_for_a_while(PostgresClient(pooled.gate))
        pooled.pool.slots.check()


async def read_only_for_a_while(db: PostgresClient) -> None:
    await db.execute("CREATE TABLE t (id int)")
    before = await db.fetchval("SELECT pg_backend_pid()")
    await db.execute("ALTER SYSTEM SET default_transaction_read_only TO on")
    await db.execute("SELECT pg_reload_conf()")
    with trio.fail_after(5):
        while await db.fetchval("SHOW default_transaction_read_only") != "on":
            await trio.sleep(0.02)
    await trio.sleep(0.1)
    with pytest.raises(Unavailable, match="read-only"):
        await db.execute("INSERT INTO t VALUES (1)")
    assert await db.using(on_down=WAIT).fetchval("SELECT pg_backend_pid()") != before
    async with db.acquire() as connection:
        await connection.execute("SET default_transaction_read_only TO off")
        await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await connection.execute("SELECT pg_reload_conf()")
    with trio.fail_after(5):
        while await db.fetchval("SHOW default_transaction_read_only") != "off":
            await trio.sleep(0.02)
    assert await db.execute("INSERT INTO t VALUES (1)") == "INSERT 0 1"


async def test_a_refused_statement_does_not_cost_its_connection(db: PostgresClient, pooled: "Kept") -> None:
    for _ in range(3):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await db.fetchval("SELECT 1 / 0")
        with pytest.raises(asyncpg.UndefinedTableError):
            await db.execute("SELECT * FROM nowhere")
        with pytest.raises(asyncpg.DataError):
            await db.fetchval("SELECT $1::int", "no number")
    assert len(pooled.seen(ConnectionOpened)) == 1
