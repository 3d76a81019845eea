"""What became of a COMMIT whose answer was lost: asked of the server, by the transaction's id.

`pg_xact_status` alone can lie. A server that crashes forgets the ids whose log it had not written yet and gives
them out again, so "committed" may be said of somebody else's transaction. Hence the id is taken together with
the place in the log at that moment and with two marks that change when a server recovers from a crash (its
statistics begin anew) or is promoted (its timeline). See `verdict`.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from resprout.runtime.errors import OutcomeUnknown


class CommitOutcome(enum.Enum):
    """What became of a transaction."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    """It left nothing behind: run it again if you still want it."""

    IN_PROGRESS = "in progress"
    """The server is still at it: ask again."""

    UNKNOWN = "unknown"
    """The server cannot say, or was not asked in time: look at the data."""


@attrs.frozen
class TransactionId:
    """Which transaction, on which server, in which life of it.

    Attributes:
        xid: The id, with its epoch: never used twice while the server does not crash.
        position: End of the log when it was asked for, in bytes: all that the transaction wrote lies before it.
        timeline: Changes when a replica is promoted.
        era: When the server's statistics began: anew after a crash.
    """

    xid: int
    position: int
    timeline: str
    era: str


class CommitUnknown(OutcomeUnknown):
    """COMMIT was sent and its answer never came: ``await db.resolve(error)`` says what became of it.

    Attributes:
        transaction: None if it had no id: it wrote nothing, or the server or the client does not keep track.
    """

    transaction: TransactionId | None = None


# Every function here may be called by everybody. An id is only asked for, never given out for the asking.
_HERE: Final = (
    "pg_current_wal_insert_lsn() - '0/0'::pg_lsn, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), "
    "extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time())"
)
CAN_TELL: Final = f"SELECT concat_ws(' ', pg_current_xact_id_if_assigned(), {_HERE})"
ASK_ID: Final = (
    "SELECT CASE WHEN pg_current_xact_id_if_assigned() IS NOT NULL "
    f"THEN concat_ws(' ', pg_current_xact_id_if_assigned(), {_HERE}) END"
)


def parse_id(answer: object) -> TransactionId | None:
    """What the server answered to `ASK_ID`.

    >>> parse_id("731 22100232 00000001 1764419971.99")
    TransactionId(xid=731, position=22100232, timeline='00000001', era='1764419971.99')
    """
    if not isinstance(answer, str):
        return None
    xid, position, timeline, era = answer.split(" ")
    return TransactionId(int(xid), int(position), timeline, era)


@attrs.frozen
class ServerWord:
    """What the server says later about a transaction, and about itself.

    Attributes:
        status: Of the id now: ``committed``, ``aborted`` or ``in progress``; None if it is too old to tell.
        timeline: As in `TransactionId`.
        era: As in `TransactionId`.
        checkpoint: Where in the log the latest checkpoint began.
        checkpoints: How many there were since the statistics began.
    """

    status: str | None
    timeline: str
    era: str
    checkpoint: int
    checkpoints: int


def verdict(transaction: TransactionId, now: ServerWord) -> CommitOutcome:
    """What became of *transaction*, as far as *now* proves it.

    "Aborted" is proof in any case: whoever got the id later, ours left nothing. "Committed" is proof in the same
    life of the server. After a crash it is if the log survived up to *position*, so that the id was not given
    out again. Recovery ends with the first checkpoint of the new life, which tells how far the log went; once
    there is a second one, nobody knows any more.
    """
    if now.status == "aborted":
        return CommitOutcome.ABORTED
    if now.status == "in progress":
        return CommitOutcome.IN_PROGRESS
    if now.status != "committed" or now.timeline != transaction.timeline:
        return CommitOutcome.UNKNOWN
    survived = now.checkpoints <= 1 and now.checkpoint >= transaction.position
    return CommitOutcome.COMMITTED if now.era == transaction.era or survived else CommitOutcome.UNKNOWN


def ask_status(*, checkpointer: bool) -> str:
    """The question for a `ServerWord` about the id ``$1``; *checkpointer*: the server has such a view (17+).

    The server refuses it with 22023 if the id was not given out yet, and with 55000 if it is a replica.
    """
    counts = (
        "(SELECT num_timed + num_requested FROM pg_stat_checkpointer)"
        if checkpointer
        else "(SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter)"
    )
    return (
        "SELECT pg_xact_status($1::text::xid8) AS status, "
        "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) AS timeline, "
        "extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time())::text AS era, "
        "(SELECT (redo_lsn - '0/0'::pg_lsn)::bigint FROM pg_control_checkpoint()) AS checkpoint, "
        f"{counts}::bigint AS checkpoints"
    )


HAS_CHECKPOINTER: Final = "SELECT to_regclass('pg_catalog.pg_stat_checkpointer') IS NOT NULL"
