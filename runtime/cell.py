"""One place in the tree, filled by one actor after the other.

A cell outlives the incarnations in it: refs point to the cell, mail waits in it, its children's cells hang on
it. One task runs the incarnations in turn. When one ends by itself the cell asks its owner, synchronously,
what follows; when it ends because it was told to, whoever gave the order decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs
import outcome
import trio
from trio.lowlevel import checkpoint, current_task, reschedule, wait_task_rescheduled

from resprout.runtime.errors import StartFailed
from resprout.runtime.exits import ExitReason, Killed, Shutdown
from resprout.runtime.incarnation import Incarnation
from resprout.runtime.life import Life
from resprout.runtime.lifecycle import ActorRestarting, ActorStuck
from resprout.runtime.mailbox import Mailbox
from resprout.runtime.monitors import Monitors
from resprout.runtime.recipe import BrutalKill, Recipe
from resprout.runtime.ref import Ref
from resprout.runtime.satellites import Satellites
from resprout.runtime.signals import ChildExit, StopOrder
from resprout.runtime.stack import stack_of
from resprout.runtime.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.lowlevel import Task

    from resprout.runtime.message import Message
    from resprout.runtime.system import System

STUCK_AFTER = 2.0  # Seconds from the cancellation until an actor that still runs is reported.


@attrs.frozen
class Restart:
    """Start the next incarnation after *delay* seconds."""

    delay: float = 0.0


@attrs.frozen
class Leave:
    """Start nothing now. *final*: refuse mail from now on; otherwise the place waits to be started again."""

    final: bool = True


Verdict: TypeAlias = Restart | Leave


class Owner(Protocol):
    """Who decides what follows an end that nobody ordered."""

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        """*cell*'s incarnation ended with *reason*. Must not wait and must not raise."""
        raise LookupError


class Cell:
    """A place in the tree. Made and driven by the runtime and by supervisors, not by applications."""

    __slots__ = (
        "__weakref__",
        "_ended",
        "_order",
        "_pausing",
        "_starter",
        "alive",
        "children",
        "exit_reason",
        "generation",
        "incarnation",
        "life",
        "mailbox",
        "monitors",
        "offer",
        "owner",
        "parallel",
        "parent",
        "path",
        "recipe",
        "restarts",
        "satellites",
        "since",
        "system",
        "task",
        "timers",
    )

    def __init__(self, system: System, parent: Cell | None, recipe: Recipe, owner: Owner) -> None:
        self.system, self.parent, self.recipe, self.owner = system, parent, recipe, owner
        self.path: str = f"{parent.path}/{recipe.id}" if parent else recipe.id
        self.mailbox = Mailbox(recipe.mailbox, recipe.overflow, owner=self.path, bury=self._bury)
        self.children: dict[str, Cell] = {}
        self.monitors = Monitors(self)
        self.timers = Timers(system.clock, self.mailbox)
        self.satellites = Satellites(self)
        self.life = Life.RESTARTING  # Mail may come before the first start.
        self.exit_reason: ExitReason = Shutdown("not started yet")
        self.generation = self.restarts = 0
        self.since = trio.current_time()
        self.alive = False  # Whether the task exists.
        self.parallel = False  # Whether children are stopped all at once and not in reverse order.
        self.task: Task | None = None
        self.offer: object = None
        self.incarnation: Incarnation | None = None
        self._pausing: trio.CancelScope | None = None
        self._order: ExitReason | None = None
        self._starter: Task | None = None
        self._ended: trio.Event | None = None
        if recipe.name is not None:
            system.registry.register(recipe.name.key, self)

    def __repr__(self) -> str:
        return f"<Cell {self.path} {self.life.value}>"

    @property
    def running(self) -> bool:
        """Whether an incarnation is there to be watched."""
        return self.life in (Life.STARTING, Life.RUNNING, Life.STOPPING)

    # Starting.

    def launch(self, delay: float = 0.0) -> None:
        """Start the next incarnation in a task of its own, after *delay*; a failure asks the owner."""
        self.alive, self._order = True, None
        self.life = Life.RESTARTING if delay else Life.STARTING
        if self.mailbox.closed:
            self.mailbox.reopen()
            if self.recipe.name is not None:
                self.system.registry.register(self.recipe.name.key, self)
        self.system.nursery.start_soon(self._run, delay, name=self.path)

    async def start(self) -> None:
        """Start and wait until `on_start` has returned. Raises `StartFailed`; then nothing is left behind."""
        self.launch()
        self._starter = current_task()
        try:
            await wait_task_rescheduled(self._abandon_start)
        except StartFailed:
            with trio.CancelScope(shield=True):  # It has ended but for its last step.
                await self.ended()
            raise
        except trio.Cancelled:
            # The starter is gone, and a start without a starter has nobody to report to.
            with trio.CancelScope(shield=True):
                await self.terminate(Shutdown("its start was cancelled"))
            raise

    def _abandon_start(self, _: object) -> trio.lowlevel.Abort:
        self._starter = None
        return trio.lowlevel.Abort.SUCCEEDED

    def add_child(self, recipe: Recipe, owner: Owner) -> Cell:
        """A new place below this one, not started. Raises `ValueError` if the id is in use."""
        if recipe.id in self.children:
            raise ValueError(f"{self.path} has a child {recipe.id!r} already; choose another id")
        if not recipe.id or "/" in recipe.id:
            raise ValueError(
                f"a child's id must be a word without '/', not {recipe.id!r} (below {self.path})"
            )
        cell = Cell(self.system, self, recipe, owner)
        self.children[recipe.id] = cell
        return cell

    # Ending.

    def leave(self, reason: ExitReason) -> None:
        """End with *reason* after the message in work; the owner is asked what follows."""
        self.mailbox.signal(StopOrder(reason=reason))

    def kill(self, detail: str = "") -> None:
        """Cancel at once, with everything below. Returns at once; a task that shields itself lives on."""
        for child in tuple(self.children.values()):
            child.kill(detail)
        self.strike(Killed(detail))

    def strike(self, fate: ExitReason) -> None:
        """Cancel the incarnation, if there is one; *fate* says why."""
        if self.incarnation is not None:
            self.incarnation.strike(fate)

    async def terminate(self, reason: ExitReason = Shutdown()) -> None:  # noqa: B008 - frozen
        """Ask it to stop, cancel it when its shutdown time is over, and wait until it is dead.

        The place then waits to be started again, or to be closed.
        """
        if not self.alive:
            return
        self._order = reason
        self.cut_pause()
        if isinstance(self.recipe.shutdown, BrutalKill) or isinstance(reason, Killed):
            self.kill(str(reason))
        else:
            self._ask(reason)
            with trio.move_on_after(self.recipe.shutdown):
                await self.ended()
            if self.alive:
                self.kill("it did not stop in time")
        await self._dead()

    def _ask(self, reason: ExitReason) -> None:
        if self.incarnation is not None and self.incarnation.interruptible:
            self.incarnation.strike(reason)
        else:
            self.mailbox.signal(StopOrder(reason=reason))

    async def ended(self) -> None:
        """Wait until the task is gone."""
        if self.alive:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()

    async def _dead(self) -> None:
        with trio.move_on_after(STUCK_AFTER):
            await self.ended()
        if self.alive:
            stack = stack_of(self.task)
            self.system.events.emit(ActorStuck(actor=self.path, after=STUCK_AFTER, stack=stack))
            await self.ended()

    def close(self) -> None:
        """Nothing runs here until it is launched anew: refuse mail and free the name, all below too."""
        for child in self.children.values():
            child.close()
        if self.life is Life.STOPPED:
            return
        self.life = Life.STOPPED
        for message in self.mailbox.close():
            self._bury(message, "the actor has stopped")
        if self.recipe.name is not None:
            self.system.registry.release(self.recipe.name.key, self)

    def _bury(self, message: Message, why: str) -> None:
        self.system.bury(self, message, why)

    # The life of the task.

    async def _run(self, delay: float) -> None:
        self.task = current_task()
        try:
            while self._order is None:
                if delay and not await self._pause(delay):
                    break
                self.generation += 1
                self.since = trio.current_time()
                self.incarnation = Incarnation(self)
                reason = await self.incarnation.live()
                self.incarnation = None
                verdict = self._judge(reason)
                if isinstance(verdict, Leave):
                    if verdict.final:
                        self.close()
                    break
                self.restarts += 1
                delay = verdict.delay
                if self.system.events.heard:
                    event = ActorRestarting(actor=self.path, restarts=self.restarts, delay=delay)
                    self.system.events.emit(event)
                await checkpoint()
        finally:
            self._finish()

    def _judge(self, reason: ExitReason) -> Verdict:
        """What follows: the starter and whoever ordered the end decide for themselves, else the owner."""
        if self._starter is not None:
            self.answer_starter(StartFailed(self.path, reason))
            return Leave(final=False)
        if self._order is not None or (self.parent is not None and not self.parent.decides):
            return Leave(final=False)
        return self.owner.child_ended(self, reason)

    def answer_starter(self, error: StartFailed | None = None) -> None:
        """Wake whoever waits in `start`."""
        starter, self._starter = self._starter, None
        if starter is not None:
            reschedule(starter, outcome.Error(error) if error else outcome.Value(None))

    @property
    def decides(self) -> bool:
        """Whether the incarnation is in a state to decide about its children."""
        return self.life in (Life.STARTING, Life.RUNNING)

    def _finish(self) -> None:
        self.alive, self.task = False, None
        self.mailbox.control.clear()  # An order that came too late must not stop the next incarnation.
        # Ordered to stop before it ran at all.
        self.answer_starter(StartFailed(self.path, self._order or Killed()))
        ended = self._ended
        if ended is not None:
            self._ended = None
            ended.set()

    async def _pause(self, delay: float) -> bool:
        """Wait before the next incarnation; False if it was told to stop meanwhile."""
        with trio.move_on_after(delay) as self._pausing:
            await trio.sleep_forever()
        self._pausing = None
        return self._order is None

    def cut_pause(self) -> None:
        """Start the next incarnation now, or end if it was told to, instead of waiting for the delay."""
        if self._pausing is not None:
            self._pausing.cancel(reason="the delay was cut short")

    async def wind_up(self, *, killed: bool) -> None:
        """End all that belongs to the incarnation that ends."""
        self.timers.cancel_all()
        self.offer = None
        await self.satellites.end()
        if self.children:
            await self._stop_children(killed=killed)
        self.mailbox.control.clear()

    async def _stop_children(self, *, killed: bool) -> None:
        """Reverse start order, each dead before the next is asked; or all at once."""
        reason = Killed("its parent was killed") if killed else Shutdown("its parent stops")
        with trio.CancelScope(shield=True):
            if self.parallel or killed:
                async with trio.open_nursery() as nursery:
                    for child in tuple(self.children.values()):
                        nursery.start_soon(child.terminate, reason)
            else:
                for child in reversed(tuple(self.children.values())):
                    await child.terminate(reason)
        for child in tuple(self.children.values()):
            if isinstance(child.owner, _Spawner):
                self.drop_child(child)

    def drop_child(self, child: Cell) -> None:
        """Forget a child that is dead."""
        child.close()
        self.children.pop(child.recipe.id, None)

    async def spawn(self, recipe: Recipe) -> Cell:
        """Start a child that nobody restarts. Raises `StartFailed`."""
        child = self.add_child(recipe, _Spawner(self))
        try:
            await child.start()
        except BaseException:
            self.drop_child(child)
            raise
        return child

    def start_satellite(self, task: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        """Run a background task of this incarnation."""
        self.satellites.start(task, args)


class _Spawner:
    """Owns the children that an actor spawned: none is restarted, its actor is told."""

    def __init__(self, parent: Cell) -> None:
        self._parent = parent

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        self._parent.drop_child(cell)
        self._parent.mailbox.signal(ChildExit(ref=Ref(cell), reason=reason))
        return Leave(final=True)
