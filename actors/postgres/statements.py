"""The ways to run a statement, the same for a client, a held connection and a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, overload

from resprout.actors.postgres.copy_options import CopyOptions, CopyTarget
from resprout.actors.postgres.streams import of_type

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence

    import asyncpg

    from resprout.actors.postgres.driver import DriverConnection, Records

T = TypeVar("T")

TEXT = CopyOptions()


class Statements(Protocol):
    """Statements in SQL with ``$1``, ``$2``, … for *args*, which are never pasted into the text.

    Every one takes *timeout*, seconds in all, and *idempotent*, which says that running it twice does no harm.
    None stands for what the client was made with.

    Every one may raise:
        asyncpg.PostgresError: The server refused the statement, for instance `asyncpg.UniqueViolationError`.
        asyncpg.InterfaceError: The arguments do not fit the statement.
        Unavailable: There is no connection; nothing was done, or all of it is undone.
        PoolExhausted: All connections stayed in use; nothing was sent.
        OutcomeUnknown: The statement was sent and its answer never came; it may have run or not.
        DeadlineExceeded: No answer in time, and nothing was done or it is safe to repeat.
        Draining: The pool is being stopped.
    """

    async def _ask(
        self,
        sql: str,
        question: Callable[[DriverConnection], Awaitable[T]],
        timeout: float | None,
        idempotent: bool | None,
    ) -> T: ...

    async def execute(
        self, sql: str, *args: object, timeout: float | None = None, idempotent: bool | None = None
    ) -> str:
        """Run *sql*, which may be a script of several statements if there are no *args*.

        Returns:
            The last command's tag, such as ``INSERT 0 1``.
        """
        return await self._ask(sql, lambda connection: connection.execute(sql, *args), timeout, idempotent)

    async def fetch(
        self, sql: str, *args: object, timeout: float | None = None, idempotent: bool | None = None
    ) -> list[asyncpg.Record]:
        """Run *sql* and return all rows."""
        return await self._ask(sql, lambda connection: connection.fetch(sql, *args), timeout, idempotent)

    async def fetchrow(
        self, sql: str, *args: object, timeout: float | None = None, idempotent: bool | None = None
    ) -> asyncpg.Record | None:
        """Run *sql* and return the first row, or None if there is none."""
        return await self._ask(sql, lambda connection: connection.fetchrow(sql, *args), timeout, idempotent)

    @overload
    async def fetchval(
        self, sql: str, *args: object, timeout: float | None = None, idempotent: bool | None = None
    ) -> object: ...

    @overload
    async def fetchval(
        self,
        sql: str,
        *args: object,
        of: type[T],
        timeout: float | None = None,
        idempotent: bool | None = None,
    ) -> T: ...

    async def fetchval(
        self,
        sql: str,
        *args: object,
        of: type[T] | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
    ) -> object:
        """Run *sql* and return the first column of the first row; None if there is no row.

        With *of* the value must be of this type, and the type checker knows it.

        Raises:
            TypeError: It is not.
        """
        value = await self._ask(sql, lambda connection: connection.fetchval(sql, *args), timeout, idempotent)
        return of_type(value, of, sql)

    async def executemany(
        self,
        sql: str,
        rows: Iterable[Sequence[object]],
        *,
        timeout: float | None = None,
        idempotent: bool | None = None,
    ) -> None:
        """Run *sql* once for each row of arguments; all of them or none."""
        await self._ask(sql, lambda connection: connection.executemany(sql, rows), timeout, idempotent)

    async def copy_from(
        self,
        table: str,
        source: AsyncIterable[bytes],
        *,
        columns: Sequence[str] | None = None,
        schema: str | None = None,
        options: CopyOptions = TEXT,
        timeout: float | None = None,
    ) -> int:
        """Copy bytes in COPY's format into *table*: all of them or none. Much faster than INSERT.

        Args:
            table: Its name, not quoted.
            source: Pieces of any size, asked for as the server takes them, in your task. What it raises comes out.
            columns: Those the data has; all, if None.
            schema: Of the table, else it is looked up on the search path.
            options: How the data look.
            timeout: Seconds in all, for the source too.

        Returns:
            The number of rows.
        """
        target = CopyTarget(table, columns, schema)
        tag = await self._ask(
            f"COPY {table}",
            lambda connection: connection.copy_from(target, source, options),
            timeout,
            idempotent=False,  # The source gives its data once.
        )
        return int(tag.rpartition(" ")[2])

    async def copy_from_records(
        self,
        table: str,
        records: Records,
        *,
        columns: Sequence[str] | None = None,
        schema: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Copy rows into *table*: all of them or none. As `copy_from`, with values instead of bytes.

        *records* may be plain or asynchronous. Values must fit the columns: they are sent as binary.
        """
        target = CopyTarget(table, columns, schema)
        tag = await self._ask(
            f"COPY {table}",
            lambda connection: connection.copy_from_records(target, records),
            timeout,
            idempotent=False,  # As above.
        )
        return int(tag.rpartition(" ")[2])
