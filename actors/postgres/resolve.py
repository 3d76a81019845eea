"""Asking what became of a transaction; how to judge the answer is in `commits`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg
import trio

from resprout.actors.postgres.commits import (
    HAS_CHECKPOINTER,
    CommitOutcome,
    ServerWord,
    TransactionId,
    ask_status,
    verdict,
)

if TYPE_CHECKING:
    from resprout.actors.postgres.statements import Statements


REPORTED_AFTER: Final = 0.5
"""Seconds after which a checkpoint that the server's control file shows is in its statistics too."""


async def ask_outcome(db: Statements, transaction: TransactionId, timeout: float | None) -> CommitOutcome:
    """Ask *db*'s server; after a crash twice, since a second checkpoint is counted somewhat after it is over.

    Raises:
        ServiceError: It did not answer.
    """
    newer = await db.fetchval(HAS_CHECKPOINTER, of=bool, timeout=timeout, idempotent=True)
    question = ask_status(checkpointer=newer)
    said = await _ask_once(db, question, transaction, timeout)
    if isinstance(said, ServerWord) and verdict(transaction, said) is CommitOutcome.COMMITTED:
        if said.era == transaction.era:
            return CommitOutcome.COMMITTED
        await trio.sleep(REPORTED_AFTER)
        said = await _ask_once(db, question, transaction, timeout)
    return verdict(transaction, said) if isinstance(said, ServerWord) else said


async def _ask_once(
    db: Statements, question: str, transaction: TransactionId, timeout: float | None
) -> ServerWord | CommitOutcome:
    try:
        row = await db.fetchrow(question, str(transaction.xid), timeout=timeout, idempotent=True)
    except asyncpg.InvalidParameterValueError:
        return CommitOutcome.ABORTED  # The id is still to come: a crash took it, and all that it wrote.
    except asyncpg.PostgresError:
        return CommitOutcome.UNKNOWN  # A replica, or a server that does not let us look.
    assert row is not None  # It has no FROM.
    return ServerWord(**row)
