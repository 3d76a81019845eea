"""What applications use: statements that run in the caller's own task, on a connection of the pool."""

from __future__ import annotations

import copy
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import asyncpg
import attrs
import trio

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.on_down import FAIL_FAST, OnDown
from resprout.actors.postgres.commits import CommitOutcome, CommitUnknown
from resprout.actors.postgres.driver import ConnectionLost, StatementTimeout
from resprout.actors.postgres.listening import listening
from resprout.actors.postgres.outcomes import after_loss, after_read_only, after_timeout
from resprout.actors.postgres.policy import CallPolicy
from resprout.actors.postgres.pool import Pool, PoolLost
from resprout.actors.postgres.repeat import REPEATED, RepeatPolicy, pause_before_repeat
from resprout.actors.postgres.reports import judge, report_repeated
from resprout.actors.postgres.resolve import ask_outcome
from resprout.actors.postgres.session import Isolation, PostgresConnection, begin_command
from resprout.actors.postgres.statements import TEXT, Statements
from resprout.runtime.errors import Sent, ServiceError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from resprout.actors.postgres.actor import PostgresPool
    from resprout.actors.postgres.copy_options import CopyOptions
    from resprout.actors.postgres.driver import DriverConnection
    from resprout.actors.postgres.notifications import Notifications
    from resprout.actors.postgres.setting import Setting
    from resprout.actors.postgres.slots import Slot
    from resprout.actors.postgres.streams import CopiedData
    from resprout.runtime.errors import OutcomeUnknown
    from resprout.runtime.ref import Address

T = TypeVar("T")
Args = TypeVarTuple("Args")

# Of its timeout, for the server: less, because the caller stood in line, and being late says nothing about the server.
FAIR_SHARE = 0.5

TIDY_TIMEOUT = 3.0  # For giving a connection back in order; the driver's own limits are shorter.


class PostgresClient(Statements):
    """Statements on any free connection of a pool; see `Statements` for what they may raise.

    A statement whose connection turns out to be dead before anything was written is given another one. One
    that was written and not answered is repeated only if it is *idempotent*.

    A single statement leaves nothing behind for the next user. What changes the session (``SET``, ``LISTEN``,
    advisory locks) belongs on a connection of its own: `acquire`.

    Args:
        connection: The name or ref of a `PostgresPool`, or the gate of a pool kept by other means.
        timeout: Seconds a statement may take, its wait for a connection included.
        acquire_timeout: Seconds `acquire` and `transaction` may wait for a connection.
        on_down: While there is no connection at all, raise `Unavailable` at once (FAIL_FAST) or WAIT for one.
        idempotent: Repeat statements whose answer was lost.
        resolvable: Ask for the id of a transaction before COMMIT, one round trip, so that `resolve` can find out
            what became of it if the answer is lost.
    """

    def __init__(
        self,
        connection: Address[PostgresPool] | Gate[Pool],
        *,
        timeout: float = 5.0,
        acquire_timeout: float = 5.0,
        on_down: OnDown = FAIL_FAST,
        idempotent: bool = False,
        resolvable: bool = True,
    ) -> None:
        self._connection = connection
        self._calls = CallPolicy(timeout, acquire_timeout, on_down, idempotent, resolvable)

    def using(
        self,
        *,
        timeout: float | None = None,
        acquire_timeout: float | None = None,
        on_down: OnDown | None = None,
        idempotent: bool | None = None,
        resolvable: bool | None = None,
    ) -> PostgresClient:
        """The same client with other rules, for instance ``db.using(timeout=60.0)`` for reports."""
        changes = {
            "timeout": timeout,
            "acquire_timeout": acquire_timeout,
            "on_down": on_down,
            "idempotent": idempotent,
            "resolvable": resolvable,
        }
        other = copy.copy(self)
        given = {name: value for name, value in changes.items() if value is not None}
        other._calls = attrs.evolve(self._calls, **given)  # type: ignore[arg-type]  # Named as the fields are.
        return other

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[PostgresConnection]:
        """Hold one connection for the block. *timeout* is for getting it, in seconds.

        It is reset afterwards (one round trip), and reported if it is held for more than 30 s.

        Raises:
            Unavailable: There is no connection.
            PoolExhausted: All stayed in use.
            Draining: The pool is being stopped.
        """
        pool, slot = await self._slot(self._acquire_by(timeout))
        slot.hold(trio.lowlevel.current_task())
        connection = PostgresConnection(pool, slot, self._calls)
        try:
            yield connection
        finally:
            connection._end()
            with trio.move_on_after(TIDY_TIMEOUT, shield=True):
                await pool.put_in_order(slot)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation | None = None, readonly: bool = False, timeout: float | None = None
    ) -> AsyncIterator[PostgresConnection]:
        """Run the block in a transaction: committed at its end, rolled back by an error.

        As `PostgresConnection.transaction`, on a connection of the pool; *timeout* is for getting it. No
        statement is repeated. Inside, ``tx.transaction()`` is a savepoint.
        """
        begin = begin_command(isolation, readonly=readonly)
        pool, slot = await self._slot_after(begin, self._acquire_by(timeout))
        connection = PostgresConnection(pool, slot, self._calls)
        try:
            async with connection._begun(readonly=readonly):
                yield connection
        finally:
            connection._end()
            with trio.move_on_after(TIDY_TIMEOUT, shield=True):
                await pool.finish(slot)

    @asynccontextmanager
    async def copy_to(
        self, query: str, *args: object, options: CopyOptions = TEXT, timeout: float | None = None
    ) -> AsyncIterator[CopiedData]:
        """The rows of *query*, as COPY writes them; see `PostgresConnection.copy_to`."""
        async with (
            self.acquire() as connection,
            connection.copy_to(query, *args, options=options, timeout=timeout) as data,
        ):
            yield data

    @asynccontextmanager
    async def listen(
        self, *channels: str, buffer: int = 1000, timeout: float | None = None
    ) -> AsyncIterator[Notifications]:
        """Hear what is sent with NOTIFY on *channels*, from the beginning of the block to its end.

        On a connection of its own, beside the pool's. It is made anew after every loss, also of a server that
        hangs, which a probe finds; then a `Missed` is among the notifications.

        Args:
            channels: Their names, not quoted.
            buffer: Notifications that may wait to be taken. One more, and all that wait give way to a `Missed`.
            timeout: Seconds the first connection may take, as for `acquire`.

        Raises:
            Unavailable: There was no connection in time.
            Draining: The pool is being stopped.
        """
        deadline = self._acquire_by(timeout)
        gate = self._gate()
        pool = gate.link() if self._calls.on_down is FAIL_FAST else await gate.wait_link(deadline)
        async with listening(pool.setting, gate, channels, buffer, deadline) as notifications:
            yield notifications

    async def run_in_transaction(
        self,
        function: Callable[[PostgresConnection, Unpack[Args]], Awaitable[T]],
        *args: *Args,
        isolation: Isolation | None = None,
        readonly: bool = False,
        timeout: float = 30.0,
        attempts: int = 10,
    ) -> T:
        """Run ``await function(tx, *args)`` in a transaction, and again where Postgres asks for that.

        It is repeated, whole and in a new transaction, only after a serialization failure or a deadlock (40001,
        40P01), with a growing, random wait. So it must be fit to run more than once: what it does outside the
        database it does each time.

        Args:
            function: What to do. Its result is returned.
            args: Given to it after the transaction.
            isolation: As for `transaction`.
            readonly: As for `transaction`.
            timeout: Seconds after which it is not begun again.
            attempts: How often it may run in all.

        Raises:
            asyncpg.SerializationError: The last attempt failed so; nothing was done. Or DeadlockDetectedError.
            CommitUnknown: COMMIT was sent and its answer never came; it is not repeated. See `resolve`.
        """
        rule = RepeatPolicy(attempts, timeout)
        deadline = trio.current_time() + timeout
        setting: Setting | None = None
        for attempt in itertools.count(1):
            try:
                async with self.transaction(isolation=isolation, readonly=readonly) as tx:
                    setting = tx._pool.setting
                    return await function(tx, *args)
            except REPEATED as error:
                if setting is None:
                    raise
                left = deadline - trio.current_time()
                pause = pause_before_repeat(error, attempt, left, rule, setting.random)
                if pause is None:
                    raise
                report_repeated(setting, attempt, error, pause)
            await trio.sleep(pause)
        raise AssertionError("unreachable")

    async def resolve(self, outcome: OutcomeUnknown, *, timeout: float | None = None) -> CommitOutcome:
        """Ask the server what became of the transaction whose COMMIT got no answer.

        Args:
            outcome: The error, as it was raised. Only a `CommitUnknown` can be resolved.
            timeout: Seconds in all, as for statements.

        Returns:
            The truth, or UNKNOWN where the server cannot prove it: it was asked long after a crash, is a replica
            that was promoted since, or does not keep track. IN_PROGRESS may be asked again.

        Raises:
            Unavailable: And the other errors of a statement: the server could not be asked now.
        """
        await trio.lowlevel.checkpoint()
        transaction = outcome.transaction if isinstance(outcome, CommitUnknown) else None
        return CommitOutcome.UNKNOWN if transaction is None else await ask_outcome(self, transaction, timeout)

    def _acquire_by(self, timeout: float | None) -> float:
        return trio.current_time() + (self._calls.acquire_timeout if timeout is None else timeout)

    async def _ask(
        self,
        sql: str,
        question: Callable[[DriverConnection], Awaitable[T]],
        timeout: float | None,
        idempotent: bool | None,
    ) -> T:
        calls = self._calls
        allowed = left = calls.timeout if timeout is None else timeout
        deadline = trio.current_time() + allowed
        repeatable = calls.idempotent if idempotent is None else idempotent
        sent = Sent.NO  # What an earlier attempt has written stays written.
        while True:
            gate = self._gate(sent)
            pool = gate.live
            slot = pool.take() if pool is not None else None
            if pool is None or slot is None:
                pool, slot = await self._slot(deadline, sent)
                left = deadline - trio.current_time()
            try:
                answer = await pool.ask_once(slot, question, deadline)
            except ConnectionLost as lost:
                may_repeat = lost.sent is Sent.NO or repeatable
                lost.sent = sent = sent if lost.sent is Sent.NO else lost.sent
                if not (may_repeat and trio.current_time() < deadline):
                    raise after_loss(gate.service, lost, idempotent=repeatable) from lost.cause
            except StatementTimeout as late:
                if left >= allowed * FAIR_SHARE:
                    judge(gate, late)
                late.sent = sent if late.sent is Sent.NO else late.sent
                raise after_timeout(gate.service, late, idempotent=repeatable) from None
            except asyncpg.ReadOnlySQLTransactionError as error:
                pool.renew("the server is read-only")
                raise after_read_only(gate.service, error) from error
            except asyncpg.PostgresError as error:
                judge(gate, error)
                raise
            else:
                gate.succeeded()
                return answer
            await trio.lowlevel.checkpoint()

    async def _slot(self, deadline: float, sent: Sent = Sent.NO) -> tuple[Pool, Slot]:
        """Wait for a connection; the caller gives it back. *sent* is what errors say of the statement."""
        while True:
            await trio.lowlevel.checkpoint()
            gate = self._gate(sent)
            pool = gate.live
            try:
                pool = pool or (
                    gate.link() if self._calls.on_down is FAIL_FAST else await gate.wait_link(deadline)
                )
                return pool, await pool.acquire(deadline)
            except PoolLost:
                continue  # The gate knows by now; it says what follows.
            except ServiceError as error:
                error.sent = sent
                raise

    async def _slot_after(self, begin: str, deadline: float) -> tuple[Pool, Slot]:
        """As `_slot`, with *begin* done on it; another slot if its connection turns out to be dead."""
        while True:
            pool, slot = await self._slot(deadline)
            slot.hold(trio.lowlevel.current_task())
            failure = await self._begin(pool, slot, begin, deadline)
            if failure is None:
                return pool, slot
            await pool.finish(slot)
            if trio.current_time() >= deadline:
                raise self._no_beginning(failure)

    async def _begin(
        self, pool: Pool, slot: Slot, begin: str, deadline: float
    ) -> ConnectionLost | StatementTimeout | None:
        """Do *begin*; returns what made it fail if nothing was done and another connection may do it."""
        try:
            await pool.ask(slot, lambda connection: connection.execute(begin), deadline)
        except (ConnectionLost, StatementTimeout) as error:
            return error
        except BaseException:
            with trio.move_on_after(TIDY_TIMEOUT, shield=True):
                await pool.finish(slot)
            raise
        return None

    def _no_beginning(self, error: ConnectionLost | StatementTimeout) -> ServiceError:
        service = self._gate().service
        if isinstance(error, ConnectionLost):
            return after_loss(service, error, idempotent=True)
        return after_timeout(service, error, idempotent=True)

    def _gate(self, sent: Sent = Sent.NO) -> Gate[Pool]:
        connection = self._connection
        if isinstance(connection, Gate):
            return connection
        gate: Gate[Pool] | None = connection.offered(Gate)
        if gate is None:
            why = "its actor is not running now"
            raise Unavailable("postgres", why, state="restarting", retry_after=0.1, sent=sent)
        return gate
