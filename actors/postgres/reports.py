"""What a pool tells the world: events, and the facts in its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import trio

from resprout.actors.postgres.driver import StatementTimeout
from resprout.actors.postgres.events import (
    ConnectionClosed,
    ConnectionOpened,
    PoolRefused,
    TransactionRepeated,
)
from resprout.runtime.errors import PoolExhausted, Unavailable

if TYPE_CHECKING:
    from resprout.actors.postgres.line import Refused
    from resprout.actors.postgres.pool import Pool
    from resprout.actors.postgres.setting import Owner, Setting


def report_opened(pool: Pool, began: float) -> None:
    """One connection more."""
    pool.setting.emit(
        ConnectionOpened(
            actor=pool.setting.actor,
            service=pool.setting.service,
            seconds=trio.current_time() - began,
            open_connections=pool.census().open,
        )
    )


def report_closed(pool: Pool, why: str, *, planned: bool) -> None:
    """One connection less."""
    pool.setting.emit(
        ConnectionClosed(
            actor=pool.setting.actor,
            service=pool.setting.service,
            why=why,
            planned=planned,
            open_connections=pool.census().open,
        )
    )


def report_repeated(setting: Setting, attempt: int, error: Exception, pause: float) -> None:
    """A transaction is run again."""
    setting.emit(
        TransactionRepeated(
            actor=setting.actor, service=setting.service, attempt=attempt, error=error, retry_after=pause
        )
    )


def no_connection(pool: Pool, refused: Refused) -> PoolExhausted | Unavailable:
    """The error for a caller who got no connection; reported, if the pool was to blame and not the server."""
    counts, service = pool.census(), pool.setting.service
    if not counts.open:
        message = f"no connection within {refused.waited:.3g} s"
        return Unavailable(service, message, state="connecting", retry_after=pool.policy.keeper.backoff.base)
    pool.refused += 1
    pool.setting.emit(
        PoolRefused(
            actor=pool.setting.actor,
            service=service,
            why=refused.why,
            waited=refused.waited,
            waiting=len(pool.line),
            in_use=counts.in_use,
            repeats=pool.refusals.count(PoolRefused, trio.current_time()),
        )
    )
    message = (
        f"{refused.why} ({counts.in_use} of {counts.size} connections in use, "
        f"{len(pool.line)} callers waiting{_oldest_holder(pool)})"
    )
    return PoolExhausted(service, message, state="ready", retry_after=pool.policy.codel_interval)


def _oldest_holder(pool: Pool) -> str:
    held = [(slot.since, slot.holder) for slot in pool.slots.all if slot.holder is not None]
    if not held:
        return ""
    since, holder = min(held, key=lambda pair: pair[0])
    return f"; {holder.name} has held one for {trio.current_time() - since:.3g} s"


def judge(owner: Owner, error: Exception) -> None:
    """A statement ended in *error* over a live connection: tell the breaker what that says about the server.

    Being late, or short of memory, disk or connections, is the server's failure. That it was told to cancel may
    have been anybody's doing. Every other error of a statement is an answer, and whoever answers is well.
    """
    match error:
        case StatementTimeout() | asyncpg.InsufficientResourcesError():
            owner.failed(error)
        case asyncpg.QueryCanceledError():
            pass
        case asyncpg.PostgresError():
            owner.succeeded()
        case _:
            pass
