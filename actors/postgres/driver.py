"""The seam: what the pool needs from a Postgres driver, so that another one can stand in.

`resprout.actors.postgres.asyncpg_driver` is the one in use. Records and the errors of statements are asyncpg's
own types on either side of the seam; everything about the *connection* comes out as one of the two errors here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from resprout.runtime.errors import Phase, Sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Sequence

    import asyncpg
    import trio

    from resprout.actors.postgres.commits import TransactionId
    from resprout.actors.postgres.copy_options import CopyOptions, CopyTarget


class ConnectionLost(Exception):
    """The connection ended while it was used; it is closed. *sent* says whether the statement had left."""

    def __init__(self, sent: Sent, cause: BaseException) -> None:
        super().__init__(str(cause) or repr(cause))
        self.sent, self.cause = sent, cause


class StatementTimeout(Exception):
    """The statement's deadline passed. The server was told to cancel; the connection is in step, or closed.

    *sent* says whether any attempt had left, *phase* how far the last one had come.
    """

    def __init__(self, sent: Sent) -> None:
        super().__init__("the deadline passed")
        self.sent = sent
        self.phase = Phase.WRITE if sent is Sent.NO else Phase.READ


Records: TypeAlias = "Iterable[Sequence[object]] | AsyncIterable[Sequence[object]]"
"""Rows for COPY."""


class Prepared(Protocol):
    """A statement the server has parsed; each method is one statement of its connection."""

    async def fetch(self, *args: object) -> list[asyncpg.Record]:
        """All rows."""
        ...

    async def fetchrow(self, *args: object) -> asyncpg.Record | None:
        """The first row."""
        ...

    async def fetchval(self, *args: object) -> object:
        """The first column of the first row."""
        ...

    def columns(self) -> tuple[str, ...]:
        """Names of the result's columns."""
        ...


class OpenCursor(Protocol):
    """A result the server keeps until the transaction ends; `fetch` is one statement of its connection."""

    async def fetch(self, count: int) -> list[asyncpg.Record]:
        """The next rows, fewer at the end."""
        ...


class CopyStream(Protocol):
    """Data of a COPY, piece by piece."""

    async def next(self) -> bytes | None:
        """The next piece; None at the end."""
        ...

    async def aclose(self) -> None:
        """End it, wherever it is; the connection is in step afterwards, or closed. Bounded."""


class DriverConnection(Protocol):
    """One connection. One statement at a time; each method below raises what its statement's errors are.

    A statement that ends early, by cancellation or by `interrupt`, leaves the connection in step with the
    server, or closed: it never comes out with an answer on its way. That takes at most `SETTLE_TIMEOUT`.

    Attributes:
        deadline: Moment on the trio clock at which the owner calls `interrupt`; infinite between statements.
        hung: The server did not even answer a request to cancel.
    """

    deadline: float
    hung: bool

    async def execute(self, sql: str, *args: object) -> str:
        """Run a statement, or a script of several if there are no *args*; returns the last command tag."""
        ...

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """All rows."""
        ...

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """The first row."""
        ...

    async def fetchval(self, sql: str, *args: object) -> object:
        """The first column of the first row; None if there is none."""
        ...

    async def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run *sql* once for each row of arguments, all or none."""
        ...

    async def copy_from(self, target: CopyTarget, source: AsyncIterable[bytes], options: CopyOptions) -> str:
        """Copy bytes into a table, all or none; returns the tag. Raises what *source* raises."""
        ...

    async def copy_from_records(self, target: CopyTarget, records: Records) -> str:
        """Copy rows into a table, all or none; returns the tag. Raises what *records* raises."""
        ...

    def copy_to(self, query: str, args: Sequence[object], options: CopyOptions) -> CopyStream:
        """Copy the rows of *query* out."""
        ...

    async def prepare(self, sql: str) -> Prepared:
        """Parse a statement once, to run it often."""
        ...

    async def cursor(self, sql: str, *args: object) -> OpenCursor:
        """Open a cursor, in a transaction."""
        ...

    async def listen(self, channel: str, heard: Callable[[str, str, int], None]) -> None:
        """LISTEN; each notification is given to *heard*: channel, payload, the sender's process id."""

    async def transaction_id(self) -> TransactionId | None:
        """Which transaction this is; None if it wrote nothing so far, or the server does not tell."""
        ...

    async def reset(self) -> None:
        """Roll back, and give up settings, locks, cursors and listeners of the session. Bounded."""
        ...

    def interrupt(self) -> None:
        """Make the statement in flight end with `StatementTimeout`."""

    def terminate(self) -> None:
        """Close now. What is in flight ends with `ConnectionLost`."""

    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        ...

    def is_quiet(self) -> bool:
        """Whether it is open and the server has said nothing since the last answer: fit for a statement."""
        ...

    def is_dirty(self) -> bool:
        """Whether a statement left a transaction open or changed settings of the session."""
        ...


class Driver(Protocol):
    """Opens connections."""

    async def connect(
        self, dsn: str, nursery: trio.Nursery, on_closed: Callable[[], None], *, name: str
    ) -> DriverConnection:
        """Open one connection; its tasks run in *nursery* and end with it.

        Args:
            dsn: Where to, and as whom.
            nursery: Outlives the connection.
            on_closed: Called once when it has ended, for whatever reason. Must not raise.
            name: Shown to the server's operators.

        Raises:
            Exception: Whatever went wrong; nothing is left open.
        """
        ...
