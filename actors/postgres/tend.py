"""Looking after connections that nobody complains about: old ones, idle ones, ones that are never given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from resprout.actors.postgres.events import HeldTooLong
from resprout.actors.postgres.pool_rules import SlotState, holds_too_long, should_close
from resprout.runtime.stack import stack_of

if TYPE_CHECKING:
    from resprout.actors.postgres.pool import Pool
    from resprout.actors.postgres.slots import Slot

EVERY = 1.0  # Seconds between two rounds.

log = structlog.get_logger(__name__)


async def tend(pool: Pool) -> None:
    """Make the round until cancelled."""
    while True:
        await trio.sleep(EVERY)
        now = trio.current_time()
        for slot in pool.slots.all:
            if slot.state is SlotState.IDLE:
                why = should_close(now, slot.expires, slot.since, pool.census().open, pool.policy)
                if why is not None:
                    pool.discard(slot, why, planned=True)
            elif slot.state is SlotState.IN_USE:
                slot.retired = slot.retired or now >= slot.expires
                if slot.holder is not None and holds_too_long(now, slot.since, slot.reported, pool.policy):
                    _report(pool, slot, slot.holder, now)


def _report(pool: Pool, slot: Slot, holder: trio.lowlevel.Task, now: float) -> None:
    slot.reported = True
    seconds, stack = now - slot.since, stack_of(holder)
    setting = pool.setting
    log.warning(
        "connection held for long", actor=setting.actor, holder=holder.name, seconds=seconds, stack=stack
    )
    setting.emit(
        HeldTooLong(
            actor=setting.actor, service=setting.service, holder=holder.name, seconds=seconds, stack=stack
        )
    )
