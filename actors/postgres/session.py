"""A connection that one caller holds for a while, and a transaction on it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

import asyncpg
import trio

from resprout.actors.postgres.driver import ConnectionLost, StatementTimeout
from resprout.actors.postgres.outcomes import (
    after_loss,
    after_read_only,
    after_timeout,
    can_commit,
    commit_unknown,
)
from resprout.actors.postgres.reports import judge
from resprout.actors.postgres.statements import TEXT, Statements
from resprout.actors.postgres.streams import CopiedData, Cursor, PreparedStatement
from resprout.runtime.errors import Sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from resprout.actors.postgres.commits import TransactionId
    from resprout.actors.postgres.copy_options import CopyOptions
    from resprout.actors.postgres.driver import DriverConnection
    from resprout.actors.postgres.policy import CallPolicy
    from resprout.actors.postgres.pool import Pool
    from resprout.actors.postgres.slots import Slot

T = TypeVar("T")

Isolation = Literal["serializable", "repeatable read", "read committed"]

ROLLBACK_TIMEOUT = 2.0  # A connection that takes longer to roll back is closed, which does the same.


class PostgresConnection(Statements):
    """A connection held by one caller; one statement at a time. Made by `PostgresClient.acquire`.

    What is set on it (settings, locks, prepared statements) is gone when it goes back to the pool. When it is
    lost nothing is repeated: what was set on it is lost as well.
    """

    def __init__(self, pool: Pool, slot: Slot, calls: CallPolicy) -> None:
        self._pool, self._slot, self._calls = pool, slot, calls
        self._busy = self._over = False
        self._depth = 0
        self._read_only = False

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation | None = None, readonly: bool = False
    ) -> AsyncIterator[PostgresConnection]:
        """A transaction, or in one a savepoint: committed at the end of the block, rolled back by an error.

        Raises:
            OutcomeUnknown: COMMIT was sent and its answer never came. Look before you repeat it.
            Unavailable: The connection was lost earlier; the server has rolled the transaction back.
            asyncpg.InFailedSQLTransactionError: A statement failed and the block went on as if it had not:
                there was nothing left to commit.
        """
        if not self._depth:
            begin = begin_command(isolation, readonly=readonly)
        elif isolation or readonly:
            raise ValueError("isolation and readonly belong to the outermost transaction")
        else:
            begin = f"SAVEPOINT {self._savepoint()}"
        await self._ask(begin, lambda connection: connection.execute(begin), None, idempotent=True)
        async with self._begun(readonly=readonly):
            yield self

    @asynccontextmanager
    async def _begun(self, *, readonly: bool) -> AsyncIterator[None]:
        """The block of a transaction that has begun."""
        name, outer_read_only = self._savepoint(), self._read_only
        commit, rollback = (
            (f"RELEASE SAVEPOINT {name}", f"ROLLBACK TO SAVEPOINT {name}")
            if self._depth
            else ("COMMIT", "ROLLBACK")
        )
        self._depth, self._read_only = self._depth + 1, outer_read_only or readonly
        try:
            yield
            tag = await self._commit(commit)
        except BaseException:
            with trio.move_on_after(ROLLBACK_TIMEOUT, shield=True) as scope:
                await self._roll_back(rollback)
            if scope.cancelled_caught and self._slot.connection is not None:
                self._slot.connection.terminate()
            raise
        finally:
            self._depth, self._read_only = self._depth - 1, outer_read_only
        if tag == "ROLLBACK":
            raise asyncpg.InFailedSQLTransactionError(
                "a statement of the transaction failed, so that it was rolled back instead of committed"
            )

    def _savepoint(self) -> str:
        return f"resprout_{self._depth}"

    async def _commit(self, command: str) -> str:
        """Make it last; returns the command's tag."""
        pool, slot = self._pool, self._slot
        deadline = trio.current_time() + self._calls.timeout
        service, savepoint = pool.setting.service, self._depth > 1
        transaction = None
        try:
            if self._calls.resolvable and not savepoint and not self._read_only:
                transaction = await self._transaction_id(deadline)
            return await pool.ask(slot, lambda connection: connection.execute(command), deadline)
        except ConnectionLost as lost:
            if savepoint or lost.sent is Sent.NO:
                raise after_loss(service, lost, undone=True) from lost.cause
            raise commit_unknown(service, lost, transaction) from lost.cause
        except StatementTimeout as late:
            if savepoint or late.sent is Sent.NO:
                raise after_timeout(service, late, undone=True) from None
            judge(pool.owner, late)
            raise commit_unknown(service, late, transaction) from None

    async def _transaction_id(self, deadline: float) -> TransactionId | None:
        """Which transaction this is, so that `PostgresClient.resolve` can ask for it.

        Raises:
            ConnectionLost: Before COMMIT was sent: nothing was done.
            StatementTimeout: Likewise; the transaction is rolled back.
        """
        try:
            return await self._pool.ask(self._slot, lambda connection: connection.transaction_id(), deadline)
        except (ConnectionLost, StatementTimeout) as error:
            error.sent = Sent.NO
            raise
        except asyncpg.InFailedSQLTransactionError:
            return None  # COMMIT will say the same.

    async def _roll_back(self, command: str) -> None:
        """Undo it, by closing the connection if need be. Raises nothing: the caller has an error already."""
        connection = self._slot.connection
        if connection is None or connection.is_closed():
            return
        try:
            await self._pool.ask(self._slot, lambda connection: connection.execute(command), math.inf)
        except Exception:  # noqa: BLE001 - whatever it was, closing undoes the transaction too.
            connection.terminate()

    # Other statements.

    async def prepare(self, sql: str, *, timeout: float | None = None) -> PreparedStatement:
        """Have the server parse *sql* once, to run it often; see `PreparedStatement`."""
        prepared = await self._ask(sql, lambda connection: connection.prepare(sql), timeout, None)
        return PreparedStatement(self, sql, prepared)

    def cursor(self, sql: str, *args: object, prefetch: int = 50, timeout: float | None = None) -> Cursor:
        """Rows of *sql*, *prefetch* at a time, for ``async for``; only in a transaction. See `Cursor`.

        *timeout* is for each fetch. The errors are those of statements.
        """
        return Cursor(self, sql, args, prefetch, timeout)

    @asynccontextmanager
    async def copy_to(
        self, query: str, *args: object, options: CopyOptions = TEXT, timeout: float | None = None
    ) -> AsyncIterator[CopiedData]:
        """The rows of *query*, as COPY writes them: ``async with … as data: async for piece in data``.

        *timeout* is for each piece. Nothing else can be done on the connection meanwhile. A block that is left
        before the end makes the server stop. The errors are those of statements.
        """
        self._claim()
        stream = self._pool.driver_of(self._slot).copy_to(query, args, options)

        async def following() -> bytes | None:
            return await self._answer(query, lambda _: stream.next(), timeout, idempotent=False)

        try:
            yield CopiedData(following)
        finally:
            await stream.aclose()
            self._busy = False

    # What all statements have in common.

    async def _ask(
        self,
        sql: str,
        question: Callable[[DriverConnection], Awaitable[T]],
        timeout: float | None,
        idempotent: bool | None,
    ) -> T:
        self._claim()
        try:
            return await self._answer(sql, question, timeout, idempotent)
        finally:
            self._busy = False

    def _claim(self) -> None:
        """One statement at a time."""
        if self._over or self._busy:
            what = "was given back" if self._over else "is busy with another statement"
            raise RuntimeError(f"this connection {what}; hold one of your own")
        self._busy = True

    async def _answer(
        self,
        sql: str,
        question: Callable[[DriverConnection], Awaitable[T]],
        timeout: float | None,
        idempotent: bool | None,
    ) -> T:
        deadline = trio.current_time() + (self._calls.timeout if timeout is None else timeout)
        repeatable = self._calls.idempotent if idempotent is None else idempotent
        service, undone = self._pool.setting.service, self._depth > 0 and not can_commit(sql)
        owner = self._pool.owner
        try:
            answer = await self._pool.ask(self._slot, question, deadline)
        except ConnectionLost as lost:
            raise after_loss(service, lost, idempotent=repeatable, undone=undone) from lost.cause
        except StatementTimeout as late:
            judge(owner, late)
            raise after_timeout(service, late, idempotent=repeatable, undone=undone) from None
        except asyncpg.ReadOnlySQLTransactionError as error:
            if self._read_only:
                raise  # As asked for.
            self._pool.renew("the server is read-only")
            raise after_read_only(service, error) from error
        except asyncpg.PostgresError as error:
            judge(owner, error)
            raise
        owner.succeeded()
        return answer

    def _end(self) -> None:
        self._over = True


def begin_command(isolation: Isolation | None, *, readonly: bool) -> str:
    """How to begin such a transaction.

    >>> begin_command("serializable", readonly=True)
    'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY'
    """
    level = f" ISOLATION LEVEL {isolation.upper()}" if isolation else ""
    return f"BEGIN{level}{' READ ONLY' if readonly else ''}"
