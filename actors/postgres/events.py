"""What a pool reports, besides the events every connection has (`resprout.actors.connection.events`)."""

from __future__ import annotations

import attrs

from resprout.actors.connection.events import ConnectionEvent


@attrs.frozen(kw_only=True)
class ConnectionOpened(ConnectionEvent):
    """The pool has one connection more, *seconds* after it began to connect; *open_connections* in all."""

    level = "debug"

    seconds: float
    open_connections: int


@attrs.frozen(kw_only=True)
class ConnectionClosed(ConnectionEvent):
    """The pool has one connection less, and *why*. *planned* unless it was lost or could not be trusted."""

    why: str
    planned: bool
    open_connections: int

    def log_level(self) -> str:
        """Connections are replaced all the time; the loss of one is news."""
        return "debug" if self.planned else "info"


@attrs.frozen(kw_only=True)
class PoolRefused(ConnectionEvent):
    """A caller got no connection after *waited* seconds: `PoolExhausted`."""

    level = "warning"

    why: str
    waited: float
    waiting: int
    in_use: int


@attrs.frozen(kw_only=True)
class HeldTooLong(ConnectionEvent):
    """*holder*, a task, has had a connection for *seconds*; *stack* says where it is now."""

    level = "warning"

    holder: str
    seconds: float
    stack: str


@attrs.frozen(kw_only=True)
class TransactionRepeated(ConnectionEvent):
    """`run_in_transaction` runs its function again, *retry_after* seconds after run *attempt* ended in *error*."""

    level = "debug"

    attempt: int
    error: Exception
    retry_after: float
