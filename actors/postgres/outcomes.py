"""What a caller is told when a statement has no answer: may it be done again, or must one look first?

The rule: nothing written, nothing done. Written without an answer, the outcome is unknown, unless the statement
may run twice, or was part of a transaction, which the server rolls back when its connection ends.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resprout.actors.postgres.commits import CommitUnknown
from resprout.actors.postgres.driver import ConnectionLost
from resprout.runtime.errors import (
    DeadlineExceeded,
    DegradedReadOnly,
    OutcomeUnknown,
    Sent,
    ServiceError,
    Unavailable,
)

if TYPE_CHECKING:
    from resprout.actors.postgres.commits import TransactionId
    from resprout.actors.postgres.driver import StatementTimeout

# A statement that can end the transaction it is in. Rather one too many: it only makes the answer less certain.
_CAN_COMMIT = re.compile(r"\b(commit|end|prepare\s+transaction)\b", re.IGNORECASE)

SOON = 0.05  # One connection was lost: whether there are others, the next call will tell.

ROLLED_BACK = "the connection was lost; the server rolls the transaction back"


def can_commit(sql: str) -> bool:
    """Whether *sql* may contain a command that commits.

    >>> can_commit("INSERT INTO t VALUES (1)"), can_commit("insert into t values (1); Commit")
    (False, True)
    """
    return _CAN_COMMIT.search(sql) is not None


def after_loss(
    service: str, lost: ConnectionLost, *, idempotent: bool = False, undone: bool = False
) -> ServiceError:
    """The error after the connection was lost.

    Args:
        service: Name of the service.
        lost: What happened; its `sent` decides.
        idempotent: The statement may run twice.
        undone: The statement was part of a transaction that now will not commit.
    """
    # The class says what to do. `sent` stays MAYBE in a transaction: its statements must not be repeated alone.
    if undone:
        return Unavailable(
            service, ROLLED_BACK, state="degraded", retry_after=SOON, cause=lost.cause, sent=lost.sent
        )
    if lost.sent is Sent.NO or idempotent:
        message = "the connection was lost"
        return Unavailable(
            service, message, state="degraded", retry_after=SOON, cause=lost.cause, sent=lost.sent
        )
    message = "the connection was lost before the answer came: the statement may have run or not"
    return OutcomeUnknown(service, message, state="degraded", cause=lost.cause, sent=lost.sent)


def after_timeout(
    service: str, late: StatementTimeout, *, idempotent: bool = False, undone: bool = False
) -> ServiceError:
    """The error after the deadline; arguments as in `after_loss`."""
    if undone:
        return _late(service, "no answer in time; the transaction is rolled back", late)
    if late.sent is Sent.NO or idempotent:
        return _late(service, "no answer in time", late)
    message = "no answer in time, and the server was told to cancel: the statement may have run or not"
    return OutcomeUnknown(service, message, state="ready", sent=late.sent)


def _late(service: str, message: str, late: StatementTimeout) -> DeadlineExceeded:
    error = DeadlineExceeded(service, message, state="ready", sent=late.sent)
    error.phase = late.phase
    return error


def commit_unknown(
    service: str, error: ConnectionLost | StatementTimeout, transaction: TransactionId | None
) -> CommitUnknown:
    """The error after a COMMIT without an answer."""
    cause = error.cause if isinstance(error, ConnectionLost) else None
    message = "no answer to COMMIT: the transaction may have been committed or not"
    unknown = CommitUnknown(
        service, message, state="ready" if cause is None else "degraded", cause=cause, sent=error.sent
    )
    unknown.transaction = transaction
    return unknown


def after_read_only(service: str, cause: Exception) -> DegradedReadOnly:
    """The error after a server refused to write because it is a replica now."""
    message = "the server is read-only: it is a replica, or was made one; connections are replaced"
    return DegradedReadOnly(service, message, state="degraded", retry_after=1.0, cause=cause, sent=Sent.NO)


def not_listening(service: str, cause: Exception | None) -> Unavailable:
    """The error of `listen` where no connection came in time."""
    message = "no connection to listen on in time"
    return Unavailable(service, message, state="connecting", retry_after=1.0, cause=cause, sent=Sent.NO)
