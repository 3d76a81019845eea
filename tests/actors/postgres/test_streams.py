"""Cursors, prepared statements and COPY on a real Postgres, and what is left when they end early."""

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio

from resprout.actors.postgres import ConnectionOpened, CopyOptions, PoolPolicy, PostgresClient
from resprout.runtime import DeadlineExceeded, OutcomeUnknown, ServiceError
from resprout.testing import LocalServer

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import Keep, Kept

pytestmark = pytest.mark.real

MANY = "SELECT n, repeat('x', 100) AS word FROM generate_series(1, 50000) n"


@pytest.fixture
async def pooled(kept: "Keep", postgres_server: LocalServer) -> AsyncIterator["Kept"]:
    """One connection, so that whatever is left behind is met by the next statement."""
    async with kept(postgres_server.url, PoolPolicy(max_size=1)) as it:
        await PostgresClient(it.gate).execute("CREATE TABLE t (id int, word text)")
        yield it
        assert (await PostgresClient(it.gate).fetchval("SELECT 7")) == 7
        it.pool.slots.check()
        assert it.pool.census().in_use == 0


@pytest.fixture
def db(pooled: "Kept") -> PostgresClient:
    return PostgresClient(pooled.gate, timeout=20)


def opened(it: "Kept") -> int:
    """How many connections were opened."""
    return len(it.seen(ConnectionOpened))


async def test_a_cursor_gives_all_rows_and_lets_other_statements_in_between(db: PostgresClient) -> None:
    async with db.transaction() as tx:
        seen = []
        async for row in tx.cursor("SELECT n FROM generate_series(1, $1::int) n", 120, prefetch=50):
            seen.append(row["n"])
            if len(seen) % 40 == 0:
                assert await tx.fetchval("SELECT $1::int", len(seen)) == len(seen)
        assert seen == list(range(1, 121))
        cursor = tx.cursor("SELECT n FROM generate_series(1, 5) n", prefetch=2)
        assert [row["n"] for row in await cursor.fetch(3)] == [1, 2, 3]
        assert [row["n"] for row in await cursor.fetch(9)] == [4, 5]
        assert await cursor.fetch(1) == []
        with pytest.raises(ValueError, match="prefetch must be at least 1, not 0"):
            tx.cursor("SELECT 1", prefetch=0)


async def test_a_cursor_outside_a_transaction_is_refused(db: PostgresClient) -> None:
    async with db.acquire() as connection:
        with pytest.raises(asyncpg.PostgresError, match="outside of a transaction"):
            await connection.cursor("SELECT 1").fetch(1)
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_cursor_left_or_cancelled_in_the_middle_leaves_the_connection_in_step(
    db: PostgresClient, pooled: "Kept"
) -> None:
    async with db.transaction() as tx:
        async for row in tx.cursor(MANY):
            if row["n"] == 60:
                break
    with trio.move_on_after(0.1):
        async with db.transaction() as tx:
            async for _ in tx.cursor("SELECT pg_sleep(0.03) FROM generate_series(1, 1000)", prefetch=1):
                pass
    assert await db.fetchval("SELECT 5") == 5
    assert opened(pooled) == 1


async def test_a_prepared_statement_runs_often(db: PostgresClient) -> None:
    async with db.acquire() as connection:
        statement = await connection.prepare("SELECT $1::int + 1 AS following")
        assert statement.columns == ("following",)
        assert [await statement.fetchval(n, of=int) for n in range(3)] == [1, 2, 3]
        assert (await statement.fetch(7))[0]["following"] == 8
        row = await statement.fetchrow(8)
        assert row is not None
        assert row["following"] == 9
        with pytest.raises(TypeError, match="gave int, not str"):
            await statement.fetchval(1, of=str)
        with pytest.raises(asyncpg.DataError):
            await statement.fetch("no number")
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await connection.prepare("SELEC 1")
        assert await statement.fetchval(9) == 10
    with pytest.raises(RuntimeError, match="was given back"):
        await statement.fetchval(1)


async def test_records_and_bytes_are_copied_in_and_out(db: PostgresClient) -> None:
    assert await db.copy_from_records("t", ((n, f"word {n}") for n in range(1200))) == 1200

    async def more() -> AsyncIterator[tuple[int]]:
        for n in range(1200, 1300):
            await trio.lowlevel.checkpoint()
            yield (n,)

    assert await db.copy_from_records("t", more(), columns=["id"], schema="public") == 100

    async def lines() -> AsyncIterator[bytes]:
        yield b"id;word\n1300;a\n13"
        await trio.sleep(0.01)
        yield b"01;-\n"

    csv = CopyOptions(format="csv", header=True, delimiter=";", null="-")
    assert await db.copy_from("t", lines(), options=csv) == 2
    assert await db.fetchval("SELECT count(*) FROM t") == 1302
    out = b""
    async with db.copy_to(
        "SELECT * FROM t WHERE id > $1 ORDER BY id", 1298, options=CopyOptions(format="csv")
    ) as data:
        async for piece in data:
            out += piece
    assert out == b"1299,\n1300,a\n1301,\n"
    assert await db.copy_from_records("t", []) == 0


async def test_much_data_is_copied_out_no_faster_than_it_is_taken(db: PostgresClient, pooled: "Kept") -> None:
    size = 0
    async with db.acquire() as connection:
        async with connection.copy_to(MANY) as data:
            async for piece in data:
                size += len(piece)
                if size < 100_000:
                    await trio.sleep(0.001)
                    with pytest.raises(RuntimeError, match="busy with another statement"):
                        await connection.fetchval("SELECT 1")
        assert size > 5_000_000
        assert await connection.fetchval("SELECT 1") == 1
    assert opened(pooled) == 1


@pytest.mark.parametrize("ending", ["break", "error", "cancel", "before"])
async def test_a_copy_out_that_is_left_early_leaves_the_connection_in_step(
    db: PostgresClient, pooled: "Kept", ending: str
) -> None:
    with trio.move_on_after(0.3) as scope:
        with pytest.raises(OSError, match="disk") if ending == "error" else nullcontext():
            async with db.copy_to(MANY) as data:
                if ending != "before":
                    async for _ in data:
                        if ending == "error":
                            raise OSError("the disk is full")
                        if ending == "break":
                            break
                        await trio.sleep(1)
    assert scope.cancelled_caught == (ending == "cancel")
    assert await db.fetchval("SELECT 5") == 5
    assert opened(pooled) == 1


async def test_a_source_that_fails_leaves_nothing_behind_and_what_it_raised_comes_out(
    db: PostgresClient, pooled: "Kept"
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"1\tone\n"
        raise ConnectionResetError("the upload broke off")

    def few() -> Iterator[tuple[int, str]]:
        for n in range(10_000):
            yield (n, "x")
        raise KeyError("no more")

    def unreadable() -> Iterator[tuple[int, str]]:
        yield (1, "x")
        raise OSError("the file cannot be read")

    with pytest.raises(OSError, match="the file cannot be read"):
        await db.executemany("INSERT INTO t VALUES ($1, $2)", unreadable())
    with pytest.raises(OSError, match="the file cannot be read"):
        await db.copy_from_records("t", unreadable())
    with pytest.raises(ConnectionResetError, match="the upload broke off"):
        await db.copy_from("t", broken())
    with pytest.raises(KeyError, match="no more"):
        await db.copy_from_records("t", few())
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await db.copy_from("t", pieces(b"not a number at all"))
    with pytest.raises((asyncpg.DataError, TypeError)):
        await db.copy_from_records("t", [("no number", 5)])
    with pytest.raises(asyncpg.UndefinedTableError):
        await db.copy_from("nowhere", pieces(b"1\n"))
    assert await db.fetchval("SELECT count(*) FROM t") == 0
    assert opened(pooled) == 1


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def test_a_refusal_ends_a_copy_whose_source_is_still_at_work(db: PostgresClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"no number\n" * 10_000
        while True:
            await trio.sleep(0.02)
            yield b"1\tx\n"

    with trio.fail_after(10), pytest.raises(asyncpg.InvalidTextRepresentationError):
        await db.copy_from("t", endless(), options=CopyOptions(format="csv"), timeout=30)


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_copy_in_that_is_cut_off_copies_nothing(db: PostgresClient, pooled: "Kept", how: str) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"1\tone\n"
        await trio.sleep(60)

    with trio.move_on_after(0.2 if how == "cancel" else 20) as scope:
        with pytest.raises((OutcomeUnknown, DeadlineExceeded)) if how == "deadline" else trio.CancelScope():
            await db.copy_from("t", slow(), timeout=0.2 if how == "deadline" else 20)
    assert scope.cancelled_caught == (how == "cancel")
    assert await db.fetchval("SELECT count(*) FROM t") == 0
    assert opened(pooled) == 1


async def test_a_kill_9_in_the_middle_of_a_copy_ends_it_with_a_typed_error(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with kept(postgres_server.url, PoolPolicy(max_size=2)) as it:
        db = PostgresClient(it.gate, timeout=20)
        await db.execute("CREATE TABLE t (id int, word text)")

        async def until_killed() -> AsyncIterator[bytes]:
            yield b"1\tone\n"
            postgres_server.kill()
            while True:
                await trio.sleep(0.02)
                yield b"1\tx\n"

        with trio.fail_after(10), pytest.raises(OutcomeUnknown):
            await db.copy_from("t", until_killed())
        await postgres_server.restart()
        await it.gate.wait_link(trio.current_time() + 10)
        with trio.fail_after(10), pytest.raises(ServiceError):
            async with db.copy_to(MANY) as data:
                async for _ in data:
                    postgres_server.kill()
                    await trio.sleep(0.05)
        await postgres_server.restart()
        await it.gate.wait_link(trio.current_time() + 10)
        it.pool.slots.check()
