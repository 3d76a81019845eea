"""What a held connection has besides single statements: cursors, prepared statements, COPY."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from resprout.actors.postgres.driver import DriverConnection, OpenCursor, Prepared

T = TypeVar("T")


class Ask(Protocol):
    """How a held connection runs one question of its driver; the rules for errors and deadlines are its own."""

    async def _ask(
        self,
        sql: str,
        question: Callable[[DriverConnection], Awaitable[T]],
        timeout: float | None,
        idempotent: bool | None,
    ) -> T: ...


class PreparedStatement:
    """A statement the server has parsed once, on one held connection; gone when that is given back.

    Single statements of a client are prepared and kept by name anyway. This is for its `columns`, and for
    a statement that is built once and run often.
    """

    def __init__(self, connection: Ask, sql: str, prepared: Prepared) -> None:
        self._connection, self._sql, self._prepared = connection, sql, prepared

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the result's columns."""
        return self._prepared.columns()

    async def fetch(self, *args: object, timeout: float | None = None) -> list[asyncpg.Record]:
        """Run it and return all rows; errors as of `PostgresConnection.fetch`."""
        return await self._connection._ask(self._sql, lambda _: self._prepared.fetch(*args), timeout, None)

    async def fetchrow(self, *args: object, timeout: float | None = None) -> asyncpg.Record | None:
        """Run it and return the first row, or None if there is none."""
        return await self._connection._ask(self._sql, lambda _: self._prepared.fetchrow(*args), timeout, None)

    @overload
    async def fetchval(self, *args: object, timeout: float | None = None) -> object: ...

    @overload
    async def fetchval(self, *args: object, of: type[T], timeout: float | None = None) -> T: ...

    async def fetchval(
        self, *args: object, of: type[T] | None = None, timeout: float | None = None
    ) -> object:
        """Run it and return the first column of the first row; with *of* its type is checked.

        Raises:
            TypeError: It is another.
        """
        value = await self._connection._ask(
            self._sql, lambda _: self._prepared.fetchval(*args), timeout, None
        )
        return of_type(value, of, self._sql)


class Cursor:
    """Rows of a query, fetched a few at a time while the transaction lasts: ``async for row in tx.cursor(sql)``.

    Between two fetches the connection is free for other statements of the same transaction.
    """

    def __init__(
        self, connection: Ask, sql: str, args: tuple[object, ...], prefetch: int, timeout: float | None
    ) -> None:
        if prefetch < 1:
            raise ValueError(f"prefetch must be at least 1, not {prefetch}")
        self._connection, self._sql, self._args = connection, sql, args
        self._prefetch, self._timeout = prefetch, timeout
        self._open: OpenCursor | None = None
        self._rows: deque[asyncpg.Record] = deque()
        self._exhausted = False

    async def fetch(self, count: int) -> list[asyncpg.Record]:
        """The next *count* rows, fewer at the end. Errors as of `PostgresConnection.fetch`."""
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        while len(self._rows) < count and not self._exhausted:
            await self._fetch_more(count - len(self._rows))
        return [self._rows.popleft() for _ in range(min(count, len(self._rows)))]

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> asyncpg.Record:
        if not self._rows and not self._exhausted:
            await self._fetch_more(self._prefetch)
        if not self._rows:
            raise StopAsyncIteration
        return self._rows.popleft()

    async def _fetch_more(self, count: int) -> None:
        if self._open is None:
            self._open = await self._ask(lambda connection: connection.cursor(self._sql, *self._args))
        opened = self._open
        rows = await self._ask(lambda _: opened.fetch(count))
        self._rows.extend(rows)
        self._exhausted = len(rows) < count

    async def _ask(self, question: Callable[[DriverConnection], Awaitable[T]]) -> T:
        return await self._connection._ask(self._sql, question, self._timeout, idempotent=False)


class CopiedData:
    """The data of a COPY as they come: ``async for piece in data``. Pieces end anywhere, also inside a line."""

    def __init__(self, following: Callable[[], Awaitable[bytes | None]]) -> None:
        self._following = following

    def __aiter__(self) -> CopiedData:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._following()
        if piece is None:
            raise StopAsyncIteration
        return piece


def of_type(value: object, of: type[T] | None, sql: str) -> object:
    """*value*, if it is what was asked for.

    Raises:
        TypeError: It is not.
    """
    if of is not None and not isinstance(value, of):
        raise TypeError(f"{sql!r} gave {type(value).__name__}, not {of.__name__}")
    return value
