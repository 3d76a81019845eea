"""asyncpg's connections behind the seam: statements awaited from trio, endings told apart.

What makes it safe to use a connection again after a statement was cut off: asyncpg sends a CancelRequest, and
`_settle` then makes one round trip more. It waits for the cancelled answer, proves that the next one is its
own, and takes in a cancellation that arrives late. If that takes more than `SETTLE_TIMEOUT`, the connection is
closed: a hung server answers neither, and asyncpg itself would wait for ever.
"""

from __future__ import annotations

import asyncio
import functools
import math
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import trio

from resprout.actors.postgres.commits import ASK_ID, CAN_TELL, parse_id
from resprout.actors.postgres.driver import ConnectionLost, StatementTimeout
from resprout.actors.postgres.dsn import tls_choice
from resprout.actors.postgres.loop import TrioLoop
from resprout.runtime.classify import is_programming_error
from resprout.runtime.errors import Sent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from resprout.actors.postgres.commits import TransactionId

T = TypeVar("T")

SETTLE_TIMEOUT = 1.0
ENDING_TIMEOUT = 2.0 * SETTLE_TIMEOUT  # Never reached, but by a clock that jumps.
RESET_TIMEOUT = 2.0

# Commands whose effect outlives the transaction: the connection must be reset before somebody else has it.
SESSION_COMMANDS = frozenset({"SET", "LISTEN", "PREPARE", "DECLARE CURSOR", "LOAD"})

# What the server says as it ends the connection: it was told to, it crashed, it is starting up.
GOODBYES = frozenset({"57P01", "57P02", "57P03", "57P05"})


class AsyncpgDriver:
    """Opens connections with asyncpg."""

    async def connect(
        self, dsn: str, nursery: trio.Nursery, on_closed: Callable[[], None], *, name: str
    ) -> AsyncpgConnection:
        """As `Driver.connect`. TLS is verified unless the DSN or this machine say otherwise: `tls_choice`."""
        loop = TrioLoop(screened=True)
        await nursery.start(loop.serve)

        async def connect() -> asyncpg.Connection[asyncpg.Record]:
            return await asyncpg.connect(
                dsn,
                loop=loop.as_asyncio,
                timeout=math.inf,  # The caller's scope is the deadline.
                ssl=tls_choice(dsn),
                max_cached_statement_lifetime=0,  # Connections do not live long enough to need it.
                server_settings=None if "application_name=" in dsn else {"application_name": name[:63]},
            )

        try:
            raw = await loop.run(connect)
        except Exception as error:
            loop.stop()
            if is_programming_error(error):
                # asyncpg stumbles over a server that leaves something out. The DSN was checked before.
                raise ConnectionError(f"the server does not speak as a Postgres does: {error!r}") from error
            raise
        except BaseException:
            loop.stop()
            raise
        connection = AsyncpgConnection(raw, loop, on_closed)
        try:
            await connection.see_what_it_can()
        except BaseException:
            connection.terminate()
            raise
        return connection


class AsyncpgConnection:
    """One asyncpg connection on its own `TrioLoop`; see `DriverConnection`."""

    __slots__ = ("_changed", "_heard", "_loop", "_raw", "_tells_ids", "_transport", "deadline", "hung")

    def __init__(
        self, raw: asyncpg.Connection[asyncpg.Record], loop: TrioLoop, on_closed: Callable[[], None]
    ) -> None:
        assert loop.transport is not None
        self.deadline, self.hung = math.inf, False
        self._raw, self._loop, self._transport = raw, loop, loop.transport
        self._changed = False
        self._tells_ids = False
        self._heard = loop.transport.bytes_read
        raw.add_termination_listener(lambda _: on_closed())

    # Statements.

    async def execute(self, sql: str, *args: object) -> str:
        """Run it; returns the last command tag."""
        tag = await self._run(self._raw.execute(sql, *args))
        if tag in SESSION_COMMANDS:
            self._changed = True
        return tag

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """All rows."""
        return await self._run(self._raw.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """The first row."""
        return await self._run(self._raw.fetchrow(sql, *args))

    async def fetchval(self, sql: str, *args: object) -> object:
        """The first column of the first row."""
        return await self._run(self._raw.fetchval(sql, *args))

    async def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run it for each row, all or none."""
        await self._run_in_asyncio(functools.partial(self._raw.executemany, sql, rows), self.deadline)

    async def see_what_it_can(self) -> None:
        """Find out what must not be tried in a transaction, where an error would end it."""
        try:
            await self.fetchval(CAN_TELL)
            self._tells_ids = True
        except asyncpg.PostgresError:
            pass  # A replica, a server before 13, or one that is only like Postgres.

    async def transaction_id(self) -> TransactionId | None:
        """Ask for it: one round trip."""
        return parse_id(await self.fetchval(ASK_ID)) if self._tells_ids else None

    async def reset(self) -> None:
        """Give the session back as it came; closed if that fails."""
        try:
            await self._run_in_asyncio(self._raw.reset, trio.current_time() + RESET_TIMEOUT)
            self._changed = False
        except Exception:  # Whatever it was, nobody else may have this connection.
            self.terminate()
            raise

    async def _run_in_asyncio(
        self, function: Callable[[], Coroutine[Any, Any, object]], deadline: float
    ) -> None:
        """Run what asyncpg can only do in an asyncio task, such as waiting for the kernel to take more."""

        async def run() -> None:
            with trio.move_on_at(deadline) as scope:
                await self._loop.run(function)
            if scope.cancelled_caught:
                raise asyncio.CancelledError  # As after `interrupt`.

        await self._run(run())

    async def _run(self, statement: Awaitable[T]) -> T:
        transport = self._transport
        before = transport.bytes_ordered
        try:
            answer = await statement
            self._heard = transport.bytes_read
            return answer
        except BaseException as error:
            with trio.move_on_after(ENDING_TIMEOUT, shield=True):
                await self._conclude(error, before)
            raise

    # Endings.

    async def _conclude(self, error: BaseException, before: int) -> None:
        """A statement ended in *error*: leave the connection in step, or closed, and tell endings apart.

        Returns if *error* is to be raised as it is.

        Raises:
            ConnectionLost: The connection is gone.
            StatementTimeout: `interrupt` was called.
        """
        if not isinstance(error, Exception | trio.Cancelled | asyncio.CancelledError):
            self.terminate()  # Ctrl-C or a closed coroutine: no time to wait for the server.
            return
        sent = Sent.NO if self._transport.bytes_ordered == before else Sent.MAYBE
        if isinstance(error, asyncpg.PostgresError) and not ends_connection(error):
            return  # An answer like any other, even if the connection ended right after it.
        if isinstance(error, Exception) and (self.is_closed() or ends_connection(error)):
            self.terminate()
            raise ConnectionLost(sent, _reason(error)) from error
        await self._settle()  # Even if nothing ran: its description may be on its way.
        if isinstance(error, asyncio.CancelledError):
            self.deadline = math.inf
            raise StatementTimeout(sent) from None

    async def _settle(self) -> None:
        """One round trip more, behind whatever is on its way; see the module's docstring."""
        with trio.move_on_after(SETTLE_TIMEOUT):
            try:
                await self._loop.run(self._raw.execute, "SELECT")
                self._heard = self._transport.bytes_read
            except asyncpg.PostgresError as error:
                if not ends_connection(error):
                    return  # Refused in a failed transaction, or cancelled late: an answer, and in its turn.
            except Exception:  # noqa: BLE001, S110 - lost, or out of step: closed below.
                pass
            else:
                return
            self.terminate()
            return
        self.hung = True
        self.terminate()

    def interrupt(self) -> None:
        """Make the statement in flight end with `StatementTimeout`."""
        self._loop.interrupt()

    def terminate(self) -> None:
        """Close now."""
        self._loop.call(self._raw.terminate)
        self._loop.stop()

    # Facts.

    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self._raw.is_closed()

    def is_quiet(self) -> bool:
        """Open, and the server has not spoken since the last answer, read or unread.

        A goodbye that asyncpg took in between two statements leaves it in a state in which it cannot go on.
        """
        transport = self._transport
        return not self._raw.is_closed() and transport.bytes_read == self._heard and transport.is_quiet()

    def is_dirty(self) -> bool:
        """In a transaction, or with changed settings."""
        return self._changed or self._raw.is_in_transaction()


def ends_connection(error: BaseException) -> bool:
    """Whether *error* is about the connection and not about the statement.

    asyncpg's InternalClientError is one: after a ``kill -9`` of the server it may raise this instead.
    """
    if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.InternalClientError | OSError):
        return True
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in GOODBYES


def _reason(error: BaseException) -> BaseException:
    """The server's own words, where asyncpg put them behind its error."""
    return error.__cause__ if isinstance(error.__cause__, asyncpg.PostgresError) else error
