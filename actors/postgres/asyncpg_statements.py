"""asyncpg's prepared statements and cursors behind the seam."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg
    import asyncpg.cursor
    import asyncpg.prepared_stmt

    from resprout.actors.postgres.copying import Host


class AsyncpgStatement:
    """A `Prepared` of asyncpg."""

    def __init__(self, host: Host, raw: asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]) -> None:
        self._host, self._raw = host, raw

    async def fetch(self, *args: object) -> list[asyncpg.Record]:
        """All rows."""
        return await self._host.run(self._raw.fetch(*args))

    async def fetchrow(self, *args: object) -> asyncpg.Record | None:
        """The first row."""
        return await self._host.run(self._raw.fetchrow(*args))

    async def fetchval(self, *args: object) -> object:
        """The first column of the first row."""
        return await self._host.run(self._raw.fetchval(*args))

    def columns(self) -> tuple[str, ...]:
        """Names of the result's columns."""
        return tuple(attribute.name for attribute in self._raw.get_attributes())


class AsyncpgCursor:
    """An `OpenCursor` of asyncpg."""

    def __init__(self, host: Host, raw: asyncpg.cursor.Cursor[asyncpg.Record]) -> None:
        self._host, self._raw = host, raw

    async def fetch(self, count: int) -> list[asyncpg.Record]:
        """The next rows."""
        return await self._host.run(self._raw.fetch(count))
