"""Two databases: one that lives in memory and obeys the test, and a real one."""

import math
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest
import trio

from resprout.actors.connection.gate import Gate
from resprout.actors.postgres import Pool, PoolPolicy
from resprout.actors.postgres.asyncpg_driver import AsyncpgDriver
from resprout.actors.postgres.connect import keeper_of
from resprout.actors.postgres.driver import ConnectionLost, Driver, StatementTimeout
from resprout.actors.postgres.setting import Setting
from resprout.runtime.errors import Sent
from resprout.runtime.events import Event


class FakeConnection:
    """Answers every statement with its last argument, or its text, after `server.takes` seconds."""

    def __init__(self, server: "FakeServer", on_closed: Callable[[], None]) -> None:
        self.deadline, self.hung = math.inf, False
        self.dirty = False
        self.closed = False
        self.resets = 0
        self._server, self._on_closed = server, on_closed
        self._scope = trio.CancelScope()
        self._interrupted = False

    async def _answer(self, sql: str, args: Sequence[object]) -> object:
        if self.closed:
            raise ConnectionLost(Sent.NO, ConnectionError("closed"))
        self._interrupted = False
        self._server.statements.append(sql)
        with trio.CancelScope() as self._scope:
            await trio.sleep(self._server.takes)
        if self.closed:
            raise ConnectionLost(Sent.MAYBE, ConnectionError("closed in the middle"))
        if self._interrupted:
            raise StatementTimeout(Sent.MAYBE)
        return args[-1] if args else sql

    async def execute(self, sql: str, *args: object) -> str:
        return str(await self._answer(sql, args))

    async def fetch(self, sql: str, *args: object) -> list:
        return [await self._answer(sql, args)]

    async def fetchrow(self, sql: str, *args: object) -> None:
        await self._answer(sql, args)

    async def fetchval(self, sql: str, *args: object) -> object:
        return await self._answer(sql, args)

    async def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        await self._answer(sql, list(rows))

    async def transaction_id(self) -> None:
        """This one does not tell."""

    async def reset(self) -> None:
        await trio.lowlevel.checkpoint()
        self.resets += 1
        self.dirty = False

    def interrupt(self) -> None:
        self._interrupted = True
        self._scope.cancel()

    def terminate(self) -> None:
        if not self.closed:
            self.closed = True
            self._server.connections.remove(self)
            self._scope.cancel()
            self._on_closed()

    def is_closed(self) -> bool:
        return self.closed

    def is_quiet(self) -> bool:
        return not self.closed

    def is_dirty(self) -> bool:
        return self.dirty


@attrs.define(eq=False)
class FakeServer:
    """A database and its driver in one.

    Attributes:
        refuses: Raised by attempts to connect, if set.
        connecting_takes: Seconds an attempt takes.
        takes: Seconds a statement takes.
        attempts: When attempts to connect began, on the trio clock.
        connections: Those that are open.
        statements: Everything it was asked.
    """

    refuses: Exception | None = None
    connecting_takes: float = 0.01
    takes: float = 0.001
    attempts: list[float] = attrs.field(factory=list)
    connections: list[FakeConnection] = attrs.field(factory=list)
    statements: list[str] = attrs.field(factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def connect(
        self, dsn: str, nursery: trio.Nursery, on_closed: Callable[[], None], *, name: str
    ) -> FakeConnection:
        self.attempts.append(trio.current_time())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await trio.sleep(self.connecting_takes)
        finally:
            self.under_way -= 1
        if self.refuses is not None:
            raise self.refuses
        connection = FakeConnection(self, on_closed)
        self.connections.append(connection)
        return connection

    def crash(self) -> None:
        """Close every connection and refuse new ones."""
        self.refuses = ConnectionRefusedError("the server is down")
        for connection in list(self.connections):
            connection.terminate()

    def recover(self) -> None:
        """Take connections again."""
        self.refuses = None


@attrs.frozen
class Kept:
    """A pool that is kept by a keeper outside any actor."""

    gate: Gate[Pool]
    events: list[Event]

    @property
    def pool(self) -> Pool:
        """The present pool."""
        return self.gate.link()

    def seen(self, kind: type[Event]) -> list[Event]:
        """The events of this kind so far."""
        return [event for event in self.events if isinstance(event, kind)]


async def conserve(pool: Pool | None) -> None:
    """After whatever a test did: everybody has given back what he had, and no slot is lost."""
    if pool is None:
        return
    with trio.fail_after(5):
        while pool.census().in_use:
            await trio.sleep(0.02)
    pool.slots.check()
    assert pool.census().size == pool.policy.max_size


Keep = Callable[..., AbstractAsyncContextManager[Kept]]


@pytest.fixture
def fake() -> FakeServer:
    """A database in memory."""
    return FakeServer()


@pytest.fixture
def kept() -> Keep:
    """``async with kept(dsn_or_driver, policy) as kept``: a pool kept alive; ready, or told not to wait."""

    @asynccontextmanager
    async def start(
        source: str | Driver | Callable[[], str], policy: PoolPolicy | None = None, *, ready: bool = True
    ) -> AsyncIterator[Kept]:
        async def dsn() -> str:
            if callable(source):
                return source()
            return source if isinstance(source, str) else "postgresql://fake"

        events: list[Event] = []
        driver = AsyncpgDriver() if isinstance(source, str) or callable(source) else source
        setting = Setting(
            service="postgres",
            actor="test/db",
            dsn=dsn,
            driver=driver,
            policy=policy or PoolPolicy(),
            emit=events.append,
            random=random.Random(7),
        )
        keeper = keeper_of(setting)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            if ready:
                await keeper.gate.wait_link(trio.current_time() + 10)
            yield Kept(keeper.gate, events)
            await conserve(keeper.gate.held)
            nursery.cancel_scope.cancel()

    return start
