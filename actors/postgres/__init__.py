"""Postgres: a pool of connections that never fails for good, and clients that tell what happened.

DB = Name(PostgresPool, "db")
app = supervisor("app", child("db", partial(PostgresPool, dsn), name=DB))
...
db = PostgresClient(DB)
row = await db.fetchrow("SELECT name FROM users WHERE id = $1", 7)
"""

try:
    import asyncpg as _asyncpg
except ImportError as _error:
    raise ImportError("resprout.actors.postgres needs asyncpg: pip install 'resprout[postgres]'") from _error

from resprout.actors.connection.on_down import FAIL_FAST, WAIT, OnDown
from resprout.actors.postgres.actor import PoolStatus, PostgresPool
from resprout.actors.postgres.client import PostgresClient
from resprout.actors.postgres.commits import CommitOutcome, CommitUnknown, TransactionId
from resprout.actors.postgres.connect import DsnSource
from resprout.actors.postgres.copy_options import CopyOptions
from resprout.actors.postgres.dsn import check_dsn
from resprout.actors.postgres.events import (
    ConnectionClosed,
    ConnectionOpened,
    HeldTooLong,
    PoolRefused,
    TransactionRepeated,
)
from resprout.actors.postgres.notifications import Missed, Notice, Notification, Notifications
from resprout.actors.postgres.policy import PoolPolicy
from resprout.actors.postgres.pool import Pool
from resprout.actors.postgres.pool_rules import Census
from resprout.actors.postgres.session import Isolation, PostgresConnection
from resprout.actors.postgres.session_setup import TypeCodec
from resprout.actors.postgres.streams import CopiedData, Cursor, PreparedStatement

Record = _asyncpg.Record
"""A row: by name or by position."""

__all__ = [
    "FAIL_FAST",
    "WAIT",
    "Census",
    "CommitOutcome",
    "CommitUnknown",
    "ConnectionClosed",
    "ConnectionOpened",
    "CopiedData",
    "CopyOptions",
    "Cursor",
    "DsnSource",
    "HeldTooLong",
    "Isolation",
    "Missed",
    "Notice",
    "Notification",
    "Notifications",
    "OnDown",
    "Pool",
    "PoolPolicy",
    "PoolRefused",
    "PoolStatus",
    "PostgresClient",
    "PostgresConnection",
    "PostgresPool",
    "PreparedStatement",
    "Record",
    "TransactionId",
    "TransactionRepeated",
    "TypeCodec",
    "check_dsn",
]
