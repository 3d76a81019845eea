"""Asking what became of a transaction; how to judge the answer is in `commits`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

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


async def ask_outcome(db: Statements, transaction: TransactionId, timeout: float | None) -> CommitOutcome:
    """Ask *db*'s server.

    Raises:
        ServiceError: It did not answer.
    """
    newer = await db.fetchval(HAS_CHECKPOINTER, of=bool, timeout=timeout, idempotent=True)
    question = ask_status(checkpointer=newer)
    try:
        row = await db.fetchrow(question, str(transaction.xid), timeout=timeout, idempotent=True)
    except asyncpg.InvalidParameterValueError:
        return CommitOutcome.ABORTED  # The id is still to come: a crash took it, and all that it wrote.
    except asyncpg.PostgresError:
        return CommitOutcome.UNKNOWN  # A replica, or a server that does not let us look.
    assert row is not None  # It has no FROM.
    return verdict(transaction, ServerWord(**row))
