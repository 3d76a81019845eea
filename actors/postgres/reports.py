"""What a pool tells the world: events, and the facts in its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from resprout.actors.postgres.events import ConnectionClosed, ConnectionOpened, PoolRefused
from resprout.runtime.errors import PoolExhausted, Unavailable

if TYPE_CHECKING:
    from resprout.actors.postgres.line import Refused
    from resprout.actors.postgres.pool import Pool


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
