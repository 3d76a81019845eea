"""A pool of connections to one Postgres, as one link of a `Keeper`: alive while it can get a connection.

The keeper opens a pool with its first connection, probes it, and makes a new pool when this one is lost. A pool
is lost when its last connection is gone and it cannot get another: until then it mends itself.

Invariants: every slot is in exactly one state, so connections are never leaked (`Slots.check`). A connection
is handed out only while it is in step with its server. Whoever waits has a deadline.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import trio

from resprout.actors.connection.repeats import Repeats
from resprout.actors.postgres.echo import echo
from resprout.actors.postgres.grow import grow
from resprout.actors.postgres.homes import InNursery
from resprout.actors.postgres.line import Line, Refused
from resprout.actors.postgres.pool_rules import Census, SlotState, lifetime
from resprout.actors.postgres.reports import no_connection, report_closed, report_opened
from resprout.actors.postgres.slots import Slot, Slots
from resprout.actors.postgres.tend import tend
from resprout.actors.postgres.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resprout.actors.postgres.driver import DriverConnection
    from resprout.actors.postgres.homes import Home, Homes
    from resprout.actors.postgres.setting import Owner, Setting

T = TypeVar("T")

# A statement between two round trips cannot be interrupted; it is asked again after this many seconds.
ASK_AGAIN = 0.05

TIDY_TIMEOUT = 3.0  # For putting a connection in order; the driver's own limit is shorter.


class PoolLost(Exception):
    """This pool is gone; the gate knows what follows. Nothing was sent."""


class Pool:
    """See the module's docstring. Make it in an attempt of the keeper, then `open` it."""

    def __init__(self, setting: Setting, owner: Owner) -> None:
        self.setting, self.policy, self.owner = setting, setting.policy, owner
        self.slots = Slots(setting.policy.max_size)
        self.watch = Watch(self._ring)
        self.line = Line(setting.policy, self.watch.by, lambda: self.census().connecting > 0)
        self.changed = trio.Event()  # Set, and replaced, when there may be a reason to open a connection.
        self.refused, self.refusals = 0, Repeats()
        self._homes: Homes  # Since `open`.
        self._why_lost: Exception | None = None
        self._ended = trio.Event()
        self._nobody_left: trio.Event | None = None

    # A link of the keeper.

    async def open(self, nursery: trio.Nursery) -> None:
        """Open the first connection, then keep the pool in *nursery* until it is lost or closed.

        Raises:
            Exception: There is no connection to be had; nothing is left open.
        """
        self._homes = self.setting.homes or InNursery(nursery)
        await self.open_slot(self.slots.all[0])
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            nursery.start_soon(partial(grow, self))
            nursery.start_soon(partial(tend, self))
            await self._ended.wait()
            nursery.cancel_scope.cancel()

    async def probe(self) -> None:
        """Have a random word echoed, on the connection that was idle longest; on a fresh one if all are busy.

        Busy connections are left alone: a long statement is no sign of illness, and a fresh connection proves
        more about the server than a busy one.
        """
        if self.slots.idle:
            slot = self.slots.idle.pop(0)
            slot.move(SlotState.IN_USE)
            unused_since = slot.since
            try:
                assert slot.connection is not None
                await echo(slot.connection)
            finally:
                self.give_back(slot)
                if slot.state is SlotState.IDLE:
                    slot.since = unused_since  # To be probed is not to be needed.
        else:
            await self._probe_apart()

    async def _probe_apart(self) -> None:
        try:
            connection = await self._connect(None)
        except asyncpg.TooManyConnectionsError:
            return  # A server that is full is alive; to lose the pool would cut off those who work.
        try:
            await echo(connection)
        finally:
            connection.terminate()

    async def wait_lost(self) -> Exception:
        """Return why, once the pool cannot get a connection."""
        await self._ended.wait()
        return self._why_lost or PoolLost("the pool was closed")

    async def wait_idle(self) -> None:
        """Return when nobody has a connection."""
        await trio.lowlevel.checkpoint()
        while self.census().in_use:
            self._nobody_left = self._nobody_left or trio.Event()
            await self._nobody_left.wait()

    async def aclose(self) -> None:
        """Close all connections, those in use too."""
        self._end(PoolLost("the pool was closed"))
        for slot in self.slots.all:
            if slot.state is SlotState.IDLE:
                self.discard(slot, "the pool is closing", planned=True)
            elif slot.connection is not None:
                slot.connection.terminate()
        await trio.lowlevel.checkpoint()

    def lose(self, why: Exception) -> None:
        """There is no connection left, and no other to be had."""
        if self._why_lost is None:
            self._why_lost = why
            self.owner.lost(self, why)
            self._end(PoolLost(str(why)))

    def _end(self, error: Exception) -> None:
        self._ended.set()
        self.line.fail_all(error)

    # Using connections.

    def take(self) -> Slot | None:
        """A slot with an idle connection that is fit for use, or None. The caller gives it back."""
        idle = self.slots.idle
        while idle:
            slot = idle.pop()
            slot.move(SlotState.IN_USE)
            if slot.connection is not None and slot.connection.is_quiet():
                return slot
            self.discard(slot, "the server closed it, or spoke out of turn", planned=False)
        return None

    async def acquire(self, deadline: float) -> Slot:
        """As `take`, but wait in line until *deadline* on the trio clock.

        Raises:
            PoolExhausted: The deadline passed, or too many others wait.
            PoolLost: The pool ended meanwhile: ask the gate.
        """
        slot = self.take()
        if slot is not None:
            return slot
        if self._ended.is_set():
            raise PoolLost("the pool was closed")
        self.notify()
        try:
            return await self.line.wait(deadline)
        except Refused as refused:
            raise no_connection(self, refused) from None

    def driver_of(self, slot: Slot) -> DriverConnection:
        """The connection in a slot that is in use."""
        assert slot.connection is not None  # It is the slot's until the slot is given back.
        return slot.connection

    async def ask(
        self, slot: Slot, question: Callable[[DriverConnection], Awaitable[T]], deadline: float
    ) -> T:
        """Await *question* on the slot's connection, interrupted at *deadline*."""
        connection = self.driver_of(slot)
        connection.deadline = deadline
        if deadline < self.watch.wakes_at:
            self.watch.by(deadline)
        try:
            return await question(connection)
        finally:
            connection.deadline = math.inf

    async def ask_once(
        self, slot: Slot, question: Callable[[DriverConnection], Awaitable[T]], deadline: float
    ) -> T:
        """As `ask`, then give the slot back. Written out, since every statement goes through here."""
        connection = slot.connection
        assert connection is not None
        connection.deadline = deadline
        if deadline < self.watch.wakes_at:
            self.watch.by(deadline)
        try:
            return await question(connection)
        finally:
            connection.deadline = math.inf
            if slot.is_clean():
                self.give_back(slot)
            else:
                with trio.move_on_after(TIDY_TIMEOUT, shield=True):
                    await self.put_in_order(slot)

    async def finish(self, slot: Slot) -> None:
        """Give *slot* back, in order: reset first if a statement left something behind."""
        if slot.is_clean():
            self.give_back(slot)
        else:
            await self.put_in_order(slot)

    def give_back(self, slot: Slot) -> None:
        """The user of *slot* is done with it, and the connection is in order or closed."""
        connection = slot.connection
        slot.holder = None
        slot.uses += 1
        if connection is None or connection.is_closed():
            self.discard(slot, "it was lost, or could not be trusted", planned=False)
        elif slot.retired or self._ended.is_set():
            self.discard(slot, "it was due to be replaced", planned=True)
        elif not self.line.serve(slot):
            slot.move(SlotState.IDLE)
            slot.since = trio.current_time()
            self.slots.idle.append(slot)
        if self._nobody_left is not None and not self.census().in_use:
            self._nobody_left.set()
            self._nobody_left = None

    async def put_in_order(self, slot: Slot) -> None:
        """Undo what its user left behind, then give *slot* back."""
        connection = slot.connection
        try:
            if connection is not None and not connection.is_closed():
                await connection.reset()
        except Exception:  # noqa: BLE001, S110 - judged below, by what is left.
            pass
        finally:
            if not slot.is_clean() and connection is not None:
                connection.terminate()  # Nobody else may have it as it is.
            self.give_back(slot)

    def renew(self, why: str) -> None:
        """Replace every connection that is not quite new; those in use as soon as their users are done.

        Until probes are clean the pool counts as degraded.
        """
        self.owner.impaired(self, why)
        now = trio.current_time()
        for slot in self.slots.all:
            if now - slot.opened < self.policy.renew_after:
                continue
            if slot.state is SlotState.IDLE:
                self.discard(slot, why, planned=True)
            elif slot.state is SlotState.IN_USE:
                slot.retired = True

    # Opening and closing.

    async def open_slot(self, slot: Slot) -> None:
        """Fill an empty *slot*: connect, prove the connection, and let it be used.

        Raises:
            Exception: It did not work; the slot is empty again.
        """
        slot.move(SlotState.CONNECTING)
        began = trio.current_time()
        try:
            connection = await self._connect(slot)
            try:
                await echo(connection)
            except BaseException:
                connection.terminate()
                raise
        except BaseException:
            slot.clear()
            raise
        slot.connection = connection
        slot.opened, slot.uses = trio.current_time(), 0
        slot.expires = slot.opened + lifetime(self.policy, self.setting.random)
        slot.move(SlotState.IN_USE)
        report_opened(self, began)
        self.line.calm()
        self.give_back(slot)

    async def _connect(self, slot: Slot | None) -> DriverConnection:
        setting = self.setting
        dsn = await setting.dsn()
        home = await self._homes(slot)
        closed = home.end if slot is None else partial(self._closed, slot, home)
        try:
            nursery = await home.wait_ready()
            return await setting.driver.connect(dsn, nursery, closed, name=f"resprout {setting.actor}")
        except BaseException:
            home.end()
            raise

    def discard(self, slot: Slot, why: str, *, planned: bool) -> None:
        """Close the slot's connection; the slot is empty, and may be opened again at once."""
        connection = slot.connection
        assert connection is not None
        if slot.state is SlotState.IDLE:
            self.slots.idle.remove(slot)
        slot.clear()
        connection.terminate()
        report_closed(self, why, planned=planned)
        if connection.hung and not self.census().open:
            self.lose(TimeoutError("the server answers nothing, not even a request to cancel"))
        self.notify()

    def _closed(self, slot: Slot, home: Home) -> None:
        """A connection of *slot* ended. If it is in use its user finds out; if it was replaced, never mind."""
        home.end()
        if slot.state is SlotState.IDLE and slot.connection is not None and slot.connection.is_closed():
            self.discard(slot, "the server closed it", planned=False)

    def notify(self) -> None:
        """There may be a reason to open a connection."""
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    def census(self) -> Census:
        """How many slots are in which state."""
        return self.slots.census()

    def describe(self) -> dict[str, int]:
        """For the tree: how many connections there are, there may be, and who waits for one."""
        counts = self.census()
        return {
            "in_use": counts.in_use,
            "idle": counts.idle,
            "max": counts.size,
            "waiting": len(self.line),
        }

    def _ring(self, now: float) -> float:
        """Interrupt statements and waiters that are due; returns the next moment something will be."""
        earliest = self.line.expire(now)
        for slot in self.slots.all:
            if slot.connection is None or slot.connection.deadline == math.inf:
                continue
            if slot.connection.deadline <= now:
                slot.connection.interrupt()
                earliest = min(earliest, now + ASK_AGAIN)
            else:
                earliest = min(earliest, slot.connection.deadline)
        return earliest
