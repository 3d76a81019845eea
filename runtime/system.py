"""A running tree: its nursery, clock, registry, events, and the way in and out.

Every task of the tree runs in one nursery in a shielded scope, so that an outer cancellation cannot end all
actors at once and in no order: leaving `open_runtime`, for whatever reason, stops the tree in reverse order,
within its shutdown times, and only then lets the cancellation or error go on.
"""

from __future__ import annotations

import random
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import attrs
import trio

from resprout.runtime.actor import protocol_of
from resprout.runtime.belonging import task_in
from resprout.runtime.cell import Cell
from resprout.runtime.crash import crash_of, fatal_part
from resprout.runtime.deadlines import Timekeeper
from resprout.runtime.errors import (
    ActorStopped,
    CallTimeoutError,
    MailboxFull,
    MailDropped,
    NotFoundError,
    TreeError,
)
from resprout.runtime.events import EventStream
from resprout.runtime.exits import ExitReason, Shutdown
from resprout.runtime.life import Life
from resprout.runtime.lifecycle import AlarmFailed, MessageLost
from resprout.runtime.message import Call, Message
from resprout.runtime.names import Registry, _current
from resprout.runtime.nurseries import bare_nursery
from resprout.runtime.observing import Observer
from resprout.runtime.owner import Leave, Verdict, is_failure
from resprout.runtime.recipe import Recipe
from resprout.runtime.ref import Ref
from resprout.runtime.snapshot import Snapshot, snapshot_of
from resprout.runtime.stopping import Stopping, StopReport
from resprout.runtime.watchdog import watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from resprout.runtime.actor import Actor
    from resprout.runtime.incarnation import Incarnation
    from resprout.runtime.signals import Signal

T = TypeVar("T")

KEPT_DEAD_LETTERS = 100


@attrs.frozen
class DeadLetter:
    """A message that was not handled: where it went, what it was, why, and when on the trio clock."""

    actor: str
    message: str
    why: str
    at: float


class System:
    """One running tree, as `open_runtime` yields it."""

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)
        self.clock = Timekeeper(self._expire, self._alarm_failed)
        self.registry = Registry()
        self.events = EventStream(self.fatal)
        self.dead_letters: deque[DeadLetter] = deque(maxlen=KEPT_DEAD_LETTERS)
        self.dead_letter_count = 0
        self.observers: dict[Cell, Observer] = {}
        self.stopping = Stopping(self)
        self.nursery: trio.Nursery
        self.root: Cell | None = None
        self._fatal: BaseException | None = None
        self._over = trio.Event()
        self._leaving = False  # Whether the block is left: the tree is being stopped, or has been.

    def ref(self, path: str) -> Ref[Actor]:
        """The actor at *path*, such as ``app/redis``. Raises `NotFoundError`."""
        root = self._planted()
        first, *rest = path.split("/")
        cell = root if first == root.recipe.id else None
        for part in rest:
            cell = cell.children.get(part) if cell is not None else None
        if cell is None:
            raise NotFoundError(path, f"there is no {path!r} in the tree below {root.path!r}")
        return Ref(cell)

    def snapshot(self) -> Snapshot:
        """The whole tree as data, as it stands now."""
        return snapshot_of(self._planted())

    async def stop(self) -> None:
        """Stop the tree in reverse start order, within its shutdown times; returns when all is dead.

        Called from inside the tree it only gives the order and returns at once: nobody can wait for his own
        end.
        """
        if task_in(self.nursery, trio.lowlevel.current_task()) is not None:
            self.nursery.start_soon(self._stop)
            await trio.lowlevel.checkpoint()
        else:
            await self._stop()

    async def _stop(self) -> None:
        if self.root is not None:
            reason = Shutdown("the runtime stops")
            if self.root.alive:
                self.stopping.begin(self.root, reason)
            await self.root.terminate(reason, final=True)
            self.root.abandon()
            self.stopping.end(self.root)
        self._over.set()

    def abort(self) -> None:
        """Cancel everything at once: no `on_stop`, no order."""
        if self.root is not None:
            self.root.kill("aborted")

    async def wait(self) -> ExitReason:
        """Wait until the tree has ended, by itself or by `stop`; returns the root's exit reason."""
        await self._over.wait()
        return self._planted().exit_reason

    @property
    def stop_report(self) -> StopReport | None:
        """How the stop of the tree went: who held it up, where, since when. None until it is over."""
        return self.stopping.report

    @property
    def fatal_error(self) -> BaseException | None:
        """The `SystemExit`, `KeyboardInterrupt` or the like for which the tree stops, if there was one."""
        return self._fatal

    @property
    def gave_up(self) -> bool:
        """Whether the root ended by itself and not well: crashed, killed, or out of restarts."""
        return self._over.is_set() and is_failure(self._planted().exit_reason)

    @asynccontextmanager
    async def running(self, tree: Recipe, *, blocked_after: float | None = None) -> AsyncIterator[System]:
        """Run *tree*; see `open_runtime`."""
        if not isinstance(tree, Recipe):
            raise TreeError(f"{tree!r} is no tree; wrap it in supervisor(…) or child(…)")
        tree.check(tree.id, {})
        try:
            async with bare_nursery() as outer:
                self.nursery = await outer.start(_host)
                self.nursery.start_soon(self.clock.run, name="resprout clock")
                token = _current.set(self.registry)
                try:
                    with watching(self, blocked_after):
                        try:
                            self.root = Cell(self, None, tree, self)
                            if not await self.root.start():
                                self._over.set()  # It declined: there is nothing to run.
                            yield self
                        finally:
                            _current.reset(token)
                            self._leaving = True
                            with trio.CancelScope(shield=True):
                                await self._stop()
                finally:
                    self.nursery.cancel_scope.cancel(reason="the runtime is over")
        finally:
            if self._fatal is not None:
                # What the block raises besides, such as `ActorStopped`, follows from this.
                raise self._fatal

    # For the engine.

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        """The root ended by itself. Nobody is above it: the runtime is over."""
        self.stopping.end(cell)
        self._over.set()
        return Leave(final=True)

    def fatal(self, error: BaseException) -> None:
        """KeyboardInterrupt or SystemExit came up inside the tree: stop in order, then let it out.

        Whoever raises it: an actor, its owner, an alarm, a subscriber. The first one counts.
        """
        part = fatal_part(error)
        if part is not None and self._fatal is None:
            self._fatal = part
            if not self._leaving:  # Else it is stopped already, and the nursery may be closed.
                self.nursery.start_soon(self._stop)

    def observed(self, incarnation: Incarnation, ask: Callable[[Observer], T]) -> T:
        """What *ask* says of the observer of a place; from now on its incarnations are observed as it wants."""
        cell = incarnation.cell
        observer = self.observers.get(cell) or Observer(cell.path, self.events)
        try:
            return ask(observer)
        finally:
            if observer.idle:
                self.observers.pop(cell, None)
            else:
                self.observers[cell] = observer
            if incarnation.actor is not None:
                incarnation.handlers = protocol_of(type(incarnation.actor))
                self.observe_again(incarnation)

    def observe_again(self, incarnation: Incarnation) -> None:
        """Have the observer of its place, if there is one, see what *incarnation* does."""
        observer = self.observers.get(incarnation.cell)
        if observer is not None:
            incarnation.handlers = observer.observed(incarnation.handlers)

    def tell_observer(self, cell: Cell, signal: Signal) -> None:
        """A notice is about to be handled at *cell*."""
        observer = self.observers.get(cell)
        if observer is not None:
            observer.signal(signal)

    def _planted(self) -> Cell:
        if self.root is None:
            raise NotFoundError("", "the tree has not started yet")
        return self.root

    def bury(self, cell: Cell, message: Message, why: str) -> None:
        """*message* will never be handled: count it, keep it for a while, tell its caller."""
        self._note_letter(cell.path, message, why)
        if self.events.heard:
            self.events.emit(MessageLost(actor=cell.path, method=message.method, why=why))
        self.refuse(cell, message)

    def refuse(self, cell: Cell, message: Message) -> None:
        """Tell whoever called that *message* will never be handled."""
        if not isinstance(message, Call):
            return
        if cell.life is Life.STOPPED:
            message.fail(ActorStopped(cell.path, cell.exit_reason))
        elif cell.life is Life.RESTARTING:
            message.fail(MailDropped(cell.path))
        else:
            message.fail(MailboxFull(cell.path, cell.mailbox.capacity))

    def _expire(self, call: Call) -> None:
        path = call.mailbox.owner
        if not call.started:
            self._note_letter(path, call, "its deadline passed while it waited")
        call.fail(CallTimeoutError(path, call.timeout, started=call.started))

    def _alarm_failed(self, error: BaseException, owner: Cell | None) -> None:
        """An alarm raised: the crash of the actor it rang for, if there is one, else the end of the tree."""
        if owner is None or not isinstance(error, Exception):
            self.fatal(error)
        else:
            self.events.emit(AlarmFailed(actor=owner.path, error=error))
            owner.strike(crash_of(error))

    def _note_letter(self, path: str, message: Message, why: str) -> None:
        self.dead_letter_count += 1
        self.dead_letters.append(DeadLetter(path, message.method, why, trio.current_time()))


@asynccontextmanager
async def open_runtime(
    tree: Recipe, *, seed: int | None = None, blocked_after: float | None = None
) -> AsyncIterator[System]:
    """Run *tree* for as long as the block lasts; on entry every child has started.

    However the block is left, the tree is stopped in reverse start order within its shutdown times before
    anything else happens. If the tree gives up meanwhile, `System.wait` returns and calls raise
    `ActorStopped`.

    Args:
        tree: A supervisor or a single child.
        seed: Seeds the runtime's randomness (jitter), for tests.
        blocked_after: Seconds for which one actor may keep the loop from turning before it is named
            (`LoopBlocked`), by a thread that watches; None, the default here, for no such thread.

    Raises:
        TreeError: The tree is described wrongly; nothing was started.
        ValueError: *blocked_after* is too short; nothing was started.
        StartFailed: A child did not start; what had started was stopped again.
    """
    async with System(seed).running(tree, blocked_after=blocked_after) as system:
        yield system


async def _host(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()
