"""asyncpg's connections behind the seam: statements awaited from trio, endings told apart.

What makes it safe to use a connection again after a statement was cut off: asyncpg sends a CancelRequest, and
`settle` then makes one round trip more. It waits for the cancelled answer, proves that the next one is its
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

from resprout.actors.postgres.asyncpg_statements import AsyncpgCursor, AsyncpgStatement
from resprout.actors.postgres.batches import Batches
from resprout.actors.postgres.commits import ASK_ID, CAN_TELL, parse_id
from resprout.actors.postgres.copying import CopyOut, Feed, Sink, SourceFailed, copy_in, guarded
from resprout.actors.postgres.driver import ConnectionLost, StatementTimeout
from resprout.actors.postgres.loop import TrioLoop
from resprout.runtime.errors import Sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence

    from asyncpg.cursor import Cursor

    from resprout.actors.postgres.commits import TransactionId
    from resprout.actors.postgres.copy_options import CopyOptions, CopyTarget
    from resprout.actors.postgres.driver import Records
    from resprout.actors.postgres.session_setup import TypeCodec

T = TypeVar("T")

SETTLE_TIMEOUT = 0.4  # With what else it takes, a caller is free half a second after his deadline.
ENDING_TIMEOUT = 2.0  # Never reached, but by a clock that jumps.
RESET_TIMEOUT = 2.0
BATCH = 500  # Rows of a COPY.

# Commands whose effect outlives the transaction: the connection must be reset before somebody else has it.
SESSION_COMMANDS = frozenset({"SET", "LISTEN", "PREPARE", "DECLARE CURSOR", "LOAD"})

# What the server says as it ends the connection: it was told to, it crashed, it is starting up.
GOODBYES = frozenset({"57P01", "57P02", "57P03", "57P05"})


class AsyncpgConnection:
    """One asyncpg connection on its own `TrioLoop`; see `DriverConnection`."""

    __slots__ = ("_changed", "_heard", "_raw", "_tells_ids", "_transport", "deadline", "hung", "loop")

    def __init__(
        self, raw: asyncpg.Connection[asyncpg.Record], loop: TrioLoop, on_closed: Callable[[], None]
    ) -> None:
        assert loop.transport is not None
        self.deadline, self.hung = math.inf, False
        self._raw, self.loop, self._transport = raw, loop, loop.transport
        self._changed = False
        self._tells_ids = False
        self._heard = loop.transport.bytes_read
        raw.add_termination_listener(lambda _: on_closed())

    # Statements.

    async def execute(self, sql: str, *args: object) -> str:
        """Run it; returns the last command tag."""
        tag = await self.run(self._raw.execute(sql, *args))
        if tag in SESSION_COMMANDS:
            self._changed = True
        return tag

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """All rows."""
        return await self.run(self._raw.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """The first row."""
        return await self.run(self._raw.fetchrow(sql, *args))

    async def fetchval(self, sql: str, *args: object) -> object:
        """The first column of the first row."""
        return await self.run(self._raw.fetchval(sql, *args))

    async def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run it for each row, all or none."""
        work = functools.partial(self._raw.executemany, sql, guarded(rows))
        try:
            await self._run_in_asyncio(work, self.deadline)
        except SourceFailed as failed:
            raise failed.error from failed.error.__cause__

    async def set_up(self, codecs: Sequence[TypeCodec]) -> None:
        """Set *codecs*, and find out what must not be tried in a transaction, where an error would end it."""
        for codec in codecs:
            await self._set(codec)
        try:
            await self.fetchval(CAN_TELL)
            self._tells_ids = True
        except asyncpg.PostgresError:
            pass  # A replica, a server before 13, or one that is only like Postgres.

    async def _set(self, codec: TypeCodec) -> None:
        setting = self._raw.set_type_codec(
            codec.type,
            schema=codec.schema,
            encoder=codec.encoder,
            decoder=codec.decoder,
            format=codec.format,
        )
        try:
            await self.run(setting)
        except (ValueError, asyncpg.InterfaceError) as error:  # It may be there after the next migration.
            message = f"no codec can be set for the type {codec.schema}.{codec.type}: {error}"
            raise ConnectionError(message) from error

    async def transaction_id(self) -> TransactionId | None:
        """Ask for it: one round trip."""
        return parse_id(await self.fetchval(ASK_ID)) if self._tells_ids else None

    # COPY.

    async def copy_from(self, target: CopyTarget, source: AsyncIterable[bytes], options: CopyOptions) -> str:
        """Copy bytes in; returns the tag."""

        async def start(feed: Feed[bytes]) -> str:
            return await self._raw.copy_to_table(
                target.table,
                source=feed,
                columns=target.columns,
                schema_name=target.schema,
                **_as_asyncpg_has_them(options),
            )

        return await copy_in(self, Batches(source, 1), start)

    async def copy_from_records(self, target: CopyTarget, records: Records) -> str:
        """Copy rows in; returns the tag."""

        async def start(feed: Feed[Sequence[object]]) -> str:
            try:
                return await self._raw.copy_records_to_table(
                    target.table, records=feed, columns=target.columns, schema_name=target.schema
                )
            except asyncpg.InternalClientError as error:
                if "binary format" in str(error):  # Its connection is all right.
                    raise asyncpg.InterfaceError(f"COPY of records needs binary codecs: {error}") from error
                raise

        return await copy_in(self, Batches(records, BATCH), start)

    def copy_to(self, query: str, args: Sequence[object], options: CopyOptions) -> CopyOut:
        """Copy rows out, as bytes."""

        async def start(sink: Sink) -> str:
            return await self._raw.copy_from_query(query, *args, output=sink, **_as_asyncpg_has_them(options))

        return CopyOut(self, start)

    # Statements with a life of their own.

    async def prepare(self, sql: str) -> AsyncpgStatement:
        """Parse it once."""
        return AsyncpgStatement(self, await self.run(self._raw.prepare(sql)))

    async def cursor(self, sql: str, *args: object) -> AsyncpgCursor:
        """Open it; asyncpg refuses outside a transaction."""
        factory = self._raw.cursor(sql, *args)

        async def open_it() -> Cursor[asyncpg.Record]:
            return await factory

        return AsyncpgCursor(self, await self.run(open_it()))

    async def listen(self, channel: str, heard: Callable[[str, str, int], None]) -> None:
        """LISTEN until the connection ends or is reset."""

        def hear(_: object, pid: int, channel: str, payload: object) -> None:
            heard(channel, str(payload), pid)

        await self.run(self._raw.add_listener(channel, hear))

    # Order.

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
                await self.loop.run(function)
            if scope.cancelled_caught:
                raise asyncio.CancelledError  # As after `interrupt`.

        await self.run(run())

    async def run(self, statement: Awaitable[T]) -> T:
        """Await *statement* of asyncpg, tell its endings apart, and leave the connection in step or closed."""
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
            self._heard = self._transport.bytes_read
            return  # An answer like any other, even if the connection ended right after it.
        if isinstance(error, Exception) and (self.is_closed() or ends_connection(error)):
            self.terminate()
            raise ConnectionLost(sent, _reason(error)) from error
        await self.settle()  # Even if nothing ran: its description may be on its way.
        if isinstance(error, asyncio.CancelledError):
            self.deadline = math.inf
            raise StatementTimeout(sent) from None

    async def settle(self) -> None:
        """One round trip more, behind whatever is on its way; see the module's docstring."""
        with trio.move_on_after(SETTLE_TIMEOUT):
            try:
                await self.loop.run(self._raw.execute, "SELECT")
                self._heard = self._transport.bytes_read
            except asyncpg.PostgresError as error:
                if not ends_connection(error):
                    self._heard = self._transport.bytes_read
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
        self.loop.interrupt()

    def terminate(self) -> None:
        """Close now."""
        self.loop.call(self._raw.terminate)
        self.loop.stop()

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


def _as_asyncpg_has_them(options: CopyOptions) -> dict[str, Any]:
    header = options.header or None
    return {
        "format": options.format,
        "header": header,
        "delimiter": options.delimiter,
        "null": options.null,
    }


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
