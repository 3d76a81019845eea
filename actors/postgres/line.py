"""Callers who wait for a connection: a bounded line, first come first served, never waiting for ever."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import outcome
import trio

from resprout.actors.postgres.pool_rules import Codel, is_stale, served

if TYPE_CHECKING:
    from collections.abc import Callable

    from resprout.actors.postgres.policy import PoolPolicy
    from resprout.actors.postgres.slots import Slot

CALM = Codel()


@attrs.define(eq=False)
class Refused(Exception):
    """No connection for this caller: *why*, after *waited* seconds."""

    why: str
    waited: float

    def __str__(self) -> str:
        return self.why


@attrs.define(eq=False)
class Waiter:
    """One task in the line, since *since*, until *deadline* on the trio clock."""

    task: trio.lowlevel.Task
    since: float
    deadline: float


class Line:
    """The line of one pool."""

    def __init__(
        self, policy: PoolPolicy, watch: Callable[[float], None], growing: Callable[[], bool]
    ) -> None:
        """*watch* is told each deadline, so that `expire` is called when it has come.

        *growing* says that one more connection is being opened: help is on its way, and nobody is sent away.
        """
        self._policy, self._watch, self._growing = policy, watch, growing
        self._waiters: dict[Waiter, None] = {}
        self._codel = CALM

    def __len__(self) -> int:
        return len(self._waiters)

    async def wait(self, deadline: float) -> Slot:
        """Wait for a slot with an open connection; it then belongs to the caller.

        Raises:
            Refused: The line is full or overloaded, or *deadline* passed.
            Exception: What `fail_all` was given.
        """
        now = trio.current_time()
        if len(self._waiters) >= self._policy.line_limit:
            await trio.lowlevel.checkpoint()
            raise Refused(f"{len(self._waiters)} callers wait already", 0.0)
        waiter = Waiter(trio.lowlevel.current_task(), now, deadline)
        self._waiters[waiter] = None

        def leave(_: object) -> trio.lowlevel.Abort:
            del self._waiters[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        self._watch(deadline)
        slot: Slot = await trio.lowlevel.wait_task_rescheduled(leave)
        return slot

    def serve(self, slot: Slot) -> bool:
        """Give *slot* to whoever is first and has not waited in vain; False if nobody is left."""
        now = trio.current_time()
        while self._waiters:
            waiter = next(iter(self._waiters))
            waited = now - waiter.since
            self._codel = served(self._codel, now, waited, self._policy)
            if is_stale(self._codel, waited, self._policy) and not self._growing():
                self._refuse(waiter, "overloaded: the line does not get shorter", now)
                continue
            del self._waiters[waiter]
            trio.lowlevel.reschedule(waiter.task, outcome.Value(slot))
            return True
        self.calm()
        return False

    def calm(self) -> None:
        """A connection found nobody waiting, or there is one more: how it was before says nothing now."""
        self._codel = CALM

    def expire(self, now: float) -> float:
        """Refuse those whose deadline has come; returns the earliest deadline that is left."""
        for waiter in [waiter for waiter in self._waiters if waiter.deadline <= now]:
            self._refuse(waiter, "no connection came free in time", now)
        return min((waiter.deadline for waiter in self._waiters), default=math.inf)

    def fail_all(self, error: Exception) -> None:
        """Nobody will be served any more."""
        for waiter in list(self._waiters):
            del self._waiters[waiter]
            trio.lowlevel.reschedule(waiter.task, outcome.Error(error))

    def _refuse(self, waiter: Waiter, why: str, now: float) -> None:
        del self._waiters[waiter]
        trio.lowlevel.reschedule(waiter.task, outcome.Error(Refused(why, now - waiter.since)))
