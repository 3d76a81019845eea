"""Opening connections: one at a time, when somebody waits for one or too few are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from resprout.actors.connection.events import AttemptFailed
from resprout.actors.connection.failure_kind import kind_of
from resprout.actors.postgres.pool_rules import slot_to_open
from resprout.runtime.backoff import delay
from resprout.runtime.classify import is_programming_error

if TYPE_CHECKING:
    from resprout.actors.postgres.pool import Pool


async def grow(pool: Pool) -> None:
    """Open connections as they are needed, until *pool* is lost.

    An attempt that fails while others are open makes the pool `Degraded` and is tried again after a growing
    wait. One that fails when none is open loses the pool: then the keeper takes over.
    """
    failures = 0
    while True:
        changed = pool.changed
        number = slot_to_open((slot.state for slot in pool.slots.all), len(pool.line), pool.policy)
        if number is None:
            await changed.wait()
            continue
        error = await _attempt(pool, number)
        if error is None:
            failures = 0
        elif not pool.census().open:
            pool.lose(error)
            return
        else:
            failures += 1
            await _back_off(pool, failures, error)


async def _attempt(pool: Pool, number: int) -> Exception | None:
    """Open one; returns what went wrong."""
    timeout = pool.policy.keeper.attempt_timeout
    try:
        with trio.move_on_after(timeout):
            await pool.open_slot(pool.slots.all[number])
            return None
    except Exception as error:
        if is_programming_error(error):
            raise
        return error
    return TimeoutError(f"no connection within {timeout:g} s")


async def _back_off(pool: Pool, failures: int, error: Exception) -> None:
    """Wait, unless the last open connection goes meanwhile: then another attempt decides at once."""
    setting = pool.setting
    pause = delay(pool.policy.keeper.backoff, failures, setting.random)
    pool.owner.impaired(pool, f"cannot open another connection: {error!r}")
    setting.emit(
        AttemptFailed(
            actor=setting.actor,
            service=setting.service,
            attempt=failures,
            error=error,
            kind=kind_of(error),
            retry_after=pause,
            repeats=failures - 1,
        )
    )
    with trio.move_on_after(pause):
        while pool.census().open:
            await pool.changed.wait()
