"""One place in the tree, and the life of the actors that fill it one after the other.

A cell outlives the incarnations in it: refs point to the cell, mail waits in it, its children's cells hang on
it. One task runs the incarnations in turn. When one ends by itself the cell asks its owner, synchronously, what
follows; when it ends because it was told to, whoever gave the order decides.

Why an incarnation ended is read from `_fate`, which is set by whoever cancels its scope, and never from the
exception that came out: a task may swallow Cancelled or raise something else while it is being cancelled.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs
import outcome
import trio
from trio.lowlevel import checkpoint, current_task, reschedule, wait_task_rescheduled

from resprout.runtime.actor import Actor, protocol_of
from resprout.runtime.context import Context
from resprout.runtime.errors import (
    ActorCrashed,
    ActorStopped,
    ReplyError,
    StartFailed,
    StartTimeout,
    UnknownMessageError,
)
from resprout.runtime.exits import Crashed, ExitReason, Killed, Shutdown
from resprout.runtime.lifecycle import ActorExited, ActorRestarting, ActorStarted, ActorStuck, CastFailed
from resprout.runtime.mailbox import Mailbox
from resprout.runtime.message import Call
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

BATCH = 32  # Messages between two checkpoints: most of the gain of 64, half of its unfairness.
STUCK_AFTER = 2.0  # Seconds from the cancellation until an actor that still runs is reported.


class Life(enum.Enum):
    """What the place in the tree is doing."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"  # Between two incarnations: mail is accepted and waits.
    STOPPED = "stopped"  # Mail is refused, until somebody starts it again.


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
        "_actor",
        "_ended",
        "_fate",
        "_order",
        "_scope",
        "_starter",
        "alive",
        "children",
        "current",
        "exit_reason",
        "generation",
        "interruptible",
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
        self.interruptible = False  # Whether a stop order cancels at once, as during `on_start`.
        self.parallel = False  # Whether children are stopped all at once and not in reverse order.
        self.task: Task | None = None
        self.current: Message | None = None
        self.offer: object = None
        self._actor: Actor | None = None
        self._scope: trio.CancelScope | None = None
        self._fate: ExitReason | None = None
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

    @property
    def actor(self) -> Actor | None:
        """The present incarnation, for looking at only."""
        return self._actor

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
        """Cancel at once, with everything below. Returns before it is dead; a task that shields itself stays."""
        for child in tuple(self.children.values()):
            child.kill(detail)
        self.strike(Killed(detail))

    def strike(self, fate: ExitReason) -> None:
        """Cancel the incarnation; *fate* says why. The first fate counts, but nothing undoes a kill."""
        if self.alive and (self._fate is None or isinstance(fate, Killed)):
            self._fate = fate
            if self._scope is not None:
                self._scope.cancel(reason=str(fate))

    async def terminate(self, reason: ExitReason = Shutdown()) -> None:  # noqa: B008 - frozen
        """Ask it to stop, cancel it when its shutdown time is over, and wait until it is dead.

        The place then waits to be started again, or to be closed.
        """
        if not self.alive:
            return
        self._order = reason
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
        if self.interruptible:
            self.strike(reason)
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
        """Nothing will run here again unless it is launched anew: refuse mail, free the name, for all below too."""
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
                reason = await self._incarnation()
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
        """What follows: the starter and whoever ordered the end decide for themselves, else the owner does."""
        starter = self._starter
        if starter is not None:
            self._starter = None
            reschedule(starter, outcome.Error(StartFailed(self.path, reason)))
            return Leave(final=False)
        if self._order is not None or (self.parent is not None and not self.parent.decides):
            return Leave(final=False)
        return self.owner.child_ended(self, reason)

    @property
    def decides(self) -> bool:
        """Whether the incarnation is in a state to decide about its children."""
        return self.life in (Life.STARTING, Life.RUNNING)

    def _finish(self) -> None:
        self.alive, self.task = False, None
        self.mailbox.control.clear()  # An order that came too late must not stop the next incarnation.
        starter = self._starter
        if starter is not None:  # Ordered to stop before it ran at all.
            self._starter = None
            reschedule(starter, outcome.Error(StartFailed(self.path, self._order or Killed())))
        ended = self._ended
        if ended is not None:
            self._ended = None
            ended.set()

    async def _pause(self, delay: float) -> bool:
        """Wait before the next incarnation; False if it was told to stop meanwhile."""
        self._fate, self.interruptible = None, True
        with trio.move_on_after(delay) as self._scope:
            await trio.sleep_forever()
        self.interruptible = False
        return self._fate is None

    def cut_pause(self) -> None:
        """Start the next incarnation now, if it waits for its delay."""
        if self.life is Life.RESTARTING and self._scope is not None:
            self._scope.deadline = trio.current_time()

    async def _incarnation(self) -> ExitReason:
        """One actor, from its making to its end. Raises nothing but a cancellation of the whole runtime."""
        self.generation += 1
        self.since = trio.current_time()
        self.life, self._fate, self.current = Life.STARTING, None, None
        started = False
        reason: ExitReason | None = None
        try:
            with trio.CancelScope() as self._scope:
                actor = await self._begin()
                started = True
                reason = await self._serve(actor)
        except Exception as error:  # noqa: BLE001 - whatever an actor raises is its crash, and stays here.
            reason = self._fate or Crashed(error)
        except (KeyboardInterrupt, SystemExit, BaseExceptionGroup) as error:
            self.system.fatal(error)
            reason = Crashed(error)
        reason = self._fate or reason or Killed("cancelled from outside")
        self.life = Life.STOPPING
        message = self._give_up_message(reason)
        if started:
            reason = await self._stop_hook(reason)
        await self._wind_up()
        self._announce(reason, message)
        return reason

    async def _begin(self) -> Actor:
        """Make the actor and run its `on_start`, within its time."""
        self.interruptible = True
        actor = self.recipe.start()
        if not isinstance(actor, Actor):
            raise TypeError(f"the start of {self.path} returned {actor!r}, which is not an Actor")
        actor.context = Context(self)
        self._actor = actor
        if type(actor).on_start is not Actor.on_start:
            timeout = self.recipe.start_timeout
            alarm = self.system.clock.at(
                trio.current_time() + timeout,
                lambda: self.strike(Crashed(StartTimeout(self.path, timeout))),
            )
            try:
                await actor.on_start()
            finally:
                alarm.cancel()
        self.interruptible = False
        self.life = Life.RUNNING
        starter = self._starter
        if starter is not None:
            self._starter = None
            reschedule(starter)
        if self.system.events.heard:
            self.system.events.emit(ActorStarted(actor=self.path, generation=self.generation))
        return actor

    async def _serve(self, actor: Actor) -> ExitReason:
        """Handle messages one at a time until a stop order; the hottest loop of the runtime."""
        mailbox = self.mailbox
        queue, control = mailbox.queue, mailbox.control
        handlers = protocol_of(type(actor))
        left = BATCH
        while True:
            if control:
                signal = control.popleft()
                if type(signal) is StopOrder:
                    return signal.reason
                await actor.on_signal(signal)
                continue
            if not queue:
                mailbox.sleeper = self.task
                await wait_task_rescheduled(mailbox.abort_sleep)
                left = BATCH
                continue
            message = queue.popleft()
            if mailbox.blocked:
                mailbox.admit()
            if type(message) is Call:
                if message.task is None:
                    mailbox.skipped_withdrawn()
                    continue
                message.started = True
            try:
                work = handlers[message.method](actor, *message.args, **message.kwargs)
            except (KeyError, TypeError) as error:
                self._refuse(message, error)
                continue
            self.current = message
            try:
                result = await work
            except ReplyError as error:
                self._answer(message, error)
            else:
                if type(message) is Call:
                    message.reply(result)
            self.current = None
            left -= 1
            if not left:
                left = BATCH
                await checkpoint()

    def _refuse(self, message: Message, error: Exception) -> None:
        """The actor has no such method or does not take these arguments: the sender's mistake, not its own."""
        why = "no such public async method" if isinstance(error, KeyError) else str(error)
        self._answer(message, UnknownMessageError(self.path, repr(message), why))

    def _answer(self, message: Message, error: Exception) -> None:
        if isinstance(message, Call):
            message.fail(error)
        else:
            self.system.events.emit(CastFailed(actor=self.path, method=message.method, error=error))

    async def _stop_hook(self, reason: ExitReason) -> ExitReason:
        """Run `on_stop`, unless it was killed; its own exception replaces the reason, as OTP's terminate's does."""
        actor, shutdown = self._actor, self.recipe.shutdown
        if actor is None or isinstance(reason, Killed) or type(actor).on_stop is Actor.on_stop:
            return reason
        if isinstance(shutdown, BrutalKill):
            return reason
        try:
            with trio.move_on_after(shutdown) as self._scope:
                await actor.on_stop(reason)
        except Exception as error:  # noqa: BLE001 - as above
            return Crashed(error)
        if self._scope.cancelled_caught:
            return Killed("on_stop took too long")
        return reason

    async def _wind_up(self) -> None:
        """End all that belongs to the incarnation."""
        self._scope, self.interruptible = None, False
        self.timers.cancel_all()
        self.offer = None
        await self.satellites.end()
        if self.children:
            await self._stop_children()
        self._actor = None
        self.mailbox.control.clear()

    def _announce(self, reason: ExitReason, message: str | None) -> None:
        self.exit_reason, self.life = reason, Life.RESTARTING
        self.monitors.tell(reason)
        if self.system.events.heard:
            event = ActorExited(actor=self.path, generation=self.generation, reason=reason, message=message)
            self.system.events.emit(event)

    def _give_up_message(self, reason: ExitReason) -> str | None:
        """Tell whoever waits for the message in work that no answer comes; returns the message's name."""
        message, self.current = self.current, None
        if isinstance(message, Call):
            message.fail(self._why_no_answer(reason))
        return message.method if message is not None else None

    def _why_no_answer(self, reason: ExitReason) -> ActorStopped | ActorCrashed:
        if isinstance(reason, Crashed):
            return ActorCrashed(self.path, reason.error)
        return ActorStopped(self.path, reason)

    async def _stop_children(self) -> None:
        """Reverse start order, each dead before the next is asked; or all at once."""
        killed = isinstance(self._fate, Killed)
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
