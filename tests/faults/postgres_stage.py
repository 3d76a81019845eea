"""Postgres on stage: inserts, transactions, counts and questions through one pool."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import asyncpg
import attrs
import trio

from resprout.actors.connection import Gate
from resprout.actors.postgres import FAIL_FAST, WAIT, PoolPolicy, PostgresClient, PostgresPool
from resprout.runtime import Name
from resprout.supervisors import ChildSpec, child
from tests.faults.history import Kind
from tests.faults.judge import Truth
from tests.faults.redis_stage import hasten, is_ready
from tests.faults.stage import CROWD_TIMEOUT, TIMEOUT, Stage

DB: Name[PostgresPool] = Name(PostgresPool, "faults-postgres")
SIZE = 5
WAITING = PostgresClient(DB, timeout=TIMEOUT, acquire_timeout=TIMEOUT, on_down=WAIT)
IMPATIENT = PostgresClient(DB, timeout=TIMEOUT, acquire_timeout=TIMEOUT, on_down=FAIL_FAST)
PATIENT = PostgresClient(DB, timeout=CROWD_TIMEOUT, on_down=WAIT)


@attrs.define(eq=False)
class PostgresStage(Stage):
    """Half of the callers wait for a connection, the others want to know at once that there is none."""

    name: ClassVar[str] = "postgres"
    hogs: ClassVar[str] = f"{SIZE} holders take every connection and keep it"

    _released: trio.Event = attrs.field(factory=trio.Event)

    async def prepare(self) -> None:
        self.history.refusals = (asyncpg.PostgresError,)
        await self.admin(
            "CREATE TABLE log (value text)",
            "CREATE TABLE counter (n bigint)",
            "INSERT INTO counter VALUES (0)",
            "CREATE ROLE app LOGIN",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO app",
        )

    def children(self) -> Sequence[ChildSpec]:
        where = self.behind_proxy(self.server.url).partition("@")[2]
        policy = PoolPolicy(max_size=SIZE, keeper=self.policy)
        start = partial(PostgresPool, f"postgresql://app@{where}", policy)
        return [child("postgres", start, name=DB)]

    async def turn(self, caller: int) -> None:
        client = WAITING if caller % 2 else IMPATIENT
        value = self.value(caller)
        match caller % 4:
            case 0:
                insert = partial(client.execute, "INSERT INTO log VALUES ($1)", value)
                await self.call(caller, Kind.WRITE, value, insert)
            case 1:
                await self.call(caller, Kind.COUNT, value, partial(client.fetchval, COUNT))
            case 2:
                await self.call(caller, Kind.ASK, value, partial(client.fetchval, "SELECT $1::text", value))
            case _:
                await self.call(caller, Kind.WRITE, value, partial(_transact, client, value), STEPS * TIMEOUT)

    async def crowd_call(self, caller: int) -> None:
        await self.call(
            caller, Kind.COUNT, self.value(caller), partial(PATIENT.fetchval, COUNT), CROWD_TIMEOUT
        )

    def hasten(self) -> None:
        hasten(DB)

    def ready(self) -> bool:
        return is_ready(DB)

    def imbalance(self) -> list[str]:
        gate = DB.offered(Gate)
        if gate is None or gate.live is None:
            return []
        try:
            gate.live.slots.check()
        except AssertionError as error:
            return [str(error)]
        census = gate.live.census()
        wrong = [f"{census.in_use} connections are in use, by nobody"] if census.in_use else []
        return wrong + ([f"there are {census.size} places, not {SIZE}"] if census.size != SIZE else [])

    async def truth(self) -> Truth:
        rows = await self.admin("SELECT value FROM log")
        return Truth(Counter(row[0] for row in rows), (await self.admin("SELECT n FROM counter"))[0][0])

    async def lock_out(self) -> None:
        await self.admin("ALTER ROLE app NOLOGIN", END_CONNECTIONS)

    async def let_in(self) -> None:
        await self.admin("ALTER ROLE app LOGIN")

    async def fill_up(self) -> None:
        await self.admin("ALTER ROLE app CONNECTION LIMIT 0", END_CONNECTIONS)

    async def make_room(self) -> None:
        await self.admin("ALTER ROLE app CONNECTION LIMIT -1")

    async def demote(self) -> None:
        await self.admin("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")

    async def promote(self) -> None:
        await self.admin("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")

    async def exhaust(self, nursery: trio.Nursery) -> None:
        for _ in range(SIZE):
            nursery.start_soon(self._hold)
        await trio.lowlevel.checkpoint()

    async def _hold(self) -> None:
        async with PATIENT.acquire():
            await self._released.wait()

    async def release(self) -> None:
        self._released.set()
        await trio.lowlevel.checkpoint()

    async def admin(self, *statements: str) -> Any:
        """Run statements over a connection of asyncpg's own, past the proxy; the rows of the last."""
        return await trio.to_thread.run_sync(asyncio.run, _run(self.server.url, statements))


async def _transact(client: PostgresClient, value: str) -> None:
    async with client.transaction() as tx:
        await tx.execute("INSERT INTO log VALUES ($1)", value)


STEPS = 4  # Of a transaction, each with a limit of its own: get a connection and begin, insert, ask for the id, commit.
COUNT = "UPDATE counter SET n = n + 1 RETURNING n"
END_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"


async def _run(url: str, statements: Sequence[str]) -> Any:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            rows = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()  # noqa: ASYNC102 - asyncio in a thread, where nothing cancels.
