"""One place in the tree, filled by one actor after the other.

A cell outlives the incarnations in it: refs point to the cell, mail waits in it, its children's cells hang on
it. One task runs the incarnations in turn. When one ends by itself the cell asks its owner, synchronously,
what follows; when it ends because it was told to, whoever gave the order decides.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import outcome
import trio
from trio.lowlevel import checkpoint, current_task, reschedule, wait_task_rescheduled

from resprout.runtime.crash import crash_of
from resprout.runtime.errors import NameTakenError, StartFailed
from resprout.runtime.exits import ExitReason, Ignored, Killed, Shutdown
from resprout.runtime.incarnation import Incarnation
from resprout.runtime.life import Life
from resprout.runtime.lifecycle import ActorRestarting
from resprout.runtime.mailbox import Mailbox, MailFate
from resprout.runtime.message import Call
from resprout.runtime.monitors import Monitors
from resprout.runtime.owner import Leave, Owner, Spawner, Verdict
from resprout.runtime.recipe import BrutalKill, Recipe
from resprout.runtime.satellites import Satellites
from resprout.runtime.signals import StopOrder
from resprout.runtime.stuck import StuckWatch
from resprout.runtime.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.lowlevel import Task

    from resprout.runtime.deadlines import Alarm
    from resprout.runtime.message import Message
    from resprout.runtime.system import System


KEPT_RESTARTS = 5


class Cell:
    """A place in the tree. Made and driven by the runtime and by supervisors, not by applications."""

    __slots__ = (
        "__weakref__",
        "_ended",
        "_final",
        "_monitors",
        "_order",
        "_patience",
        "_pausing",
        "_satellites",
        "_starter",
        "_stuck_watch",
        "_timers",
        "alive",
        "children",
        "ending_since",
        "exit_reason",
        "generation",
        "incarnation",
        "life",
        "lived",
        "mailbox",
        "offer",
        "owner",
        "parallel",
        "parent",
        "path",
        "recent_restarts",
        "recipe",
        "restarts",
        "since",
        "system",
        "task",
    )

    def __init__(self, system: System, parent: Cell | None, recipe: Recipe, owner: Owner) -> None:
        self.system, self.parent, self.recipe, self.owner = system, parent, recipe, owner
        self.path: str = f"{parent.path}/{recipe.id}" if parent else recipe.id
        self.mailbox = Mailbox(recipe.mailbox, recipe.overflow, owner=self.path, bury=self._bury)
        self.children: dict[str, Cell] = {}
        # Most places need none of these three: each is made when asked for.
        self._monitors: Monitors | None = None
        self._timers: Timers | None = None
        self._satellites: Satellites | None = None
        self.life = Life.RESTARTING  # Mail may come before the first start.
        self.exit_reason: ExitReason = Shutdown("not started yet")
        self.generation = self.restarts = 0
        self.recent_restarts: tuple[float, ...] = ()  # When the last few were.
        self.since = trio.current_time()  # When the present incarnation began, or the last one ended.
        self.lived = 0.0  # Seconds for which the last incarnation was running.
        self.ending_since: float | None = None  # When the present incarnation was told to end, or began to.
        self.alive = False  # Whether the task exists.
        self.parallel = False  # Whether children are stopped all at once and not in reverse order.
        self.task: Task | None = None
        self.offer: object = None
        self.incarnation: Incarnation | None = None
        self._patience: Alarm | None = None  # Until it is killed because it did not stop in time.
        self._pausing: trio.CancelScope | None = None
        self._order: ExitReason | None = None
        self._final = False  # Whether the end that was ordered is for good.
        self._starter: Task | None = None
        self._ended: trio.Event | None = None
        self._stuck_watch: StuckWatch | None = None
        if recipe.name is not None:
            system.registry.register(recipe.name.key, self)

    def __repr__(self) -> str:
        return f"<Cell {self.path} {self.life.value}>"

    @property
    def running(self) -> bool:
        """Whether an incarnation is there to be watched."""
        return self.life in (Life.STARTING, Life.RUNNING, Life.STOPPING)

    @property
    def monitors(self) -> Monitors:
        """Who watches this place, and whom it watches."""
        if self._monitors is None:
            self._monitors = Monitors(self)
        return self._monitors

    @property
    def timers(self) -> Timers:
        """The timers of the present incarnation."""
        if self._timers is None:
            self._timers = Timers(self)
        return self._timers

    @property
    def satellites(self) -> Satellites:
        """The background tasks of the present incarnation."""
        if self._satellites is None:
            self._satellites = Satellites(self)
        return self._satellites

    @property
    def task_count(self) -> int:
        """How many background tasks run."""
        return len(self._satellites) if self._satellites is not None else 0

    # Starting.

    def launch(self, delay: float = 0.0) -> None:
        """Start the next incarnation in a task of its own, after *delay*; a failure asks the owner.

        Raises:
            NameTakenError: The place was closed, and another holds its name by now.
        """
        if self.mailbox.closed:
            if self.recipe.name is not None:
                self.system.registry.register(self.recipe.name.key, self)
            self.mailbox.reopen()
        self.alive, self._order, self._final, self.ending_since = True, None, False, None
        self.life = Life.RESTARTING if delay else Life.STARTING
        self.system.nursery.start_soon(self._run, delay, name=self.path)

    async def start(self) -> bool:
        """Start and wait until `on_start` has returned; False if the actor declined (`Ignore`).

        Raises `StartFailed`; then, as after a refusal, nothing is left behind.
        """
        try:
            self.launch()
        except NameTakenError as error:
            raise StartFailed(self.path, crash_of(error)) from error
        self._starter = current_task()
        try:
            return bool(await wait_task_rescheduled(self._abandon_start))
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

    async def terminate(self, reason: ExitReason = Shutdown(), *, final: bool = False) -> None:  # noqa: B008 - frozen
        """Ask it to stop, cancel it when its shutdown time is over, and wait until it is dead.

        The place then waits to be started again; if it is *final* it is closed, before any watcher can act.
        """
        self._lose_patience_in(self._order_end(reason, final=final))
        await self._wait_over()

    async def _wait_over(self) -> None:
        """Wait until the present task, if there is one, is gone."""
        if self.alive:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()  # Of this task: by the time it is seen, another may have been launched.

    def _order_end(self, reason: ExitReason, *, final: bool = False) -> float:
        """As `terminate`, without waiting; returns after how many seconds it is too late."""
        if not self.alive:
            if final:
                self.close()
            return math.inf
        self._order, self._final = reason, self._final or final
        if self.ending_since is None:
            self.ending_since = trio.current_time()
        if (
            self._patience is not None
        ):  # The last order counts, which may come from whoever stops all of the tree.
            self._patience.cancel()
            self._patience = None
        self.cut_pause()
        shutdown = self.recipe.shutdown
        if isinstance(shutdown, BrutalKill) or isinstance(reason, Killed):
            self.kill(reason.detail if isinstance(reason, Killed) else str(reason))
            return math.inf
        self._ask(reason)
        return shutdown

    def _lose_patience_in(self, seconds: float) -> None:
        """Kill it then, if it still runs. An alarm, since a cancel scope per child would cost more."""
        if seconds <= 0:
            self._too_late()
        elif seconds < math.inf:
            self._patience = self.system.clock.at(trio.current_time() + seconds, self._too_late, self)

    def _too_late(self) -> None:
        self._patience = None
        self.kill("it did not stop in time")

    def _ask(self, reason: ExitReason) -> None:
        if self.incarnation is not None and self.incarnation.interruptible:
            self.incarnation.strike(reason)
        else:
            self.mailbox.signal(StopOrder(reason=reason))

    def watch_end(self, grace: float = 0.0) -> None:
        """The incarnation was cancelled, or will be in *grace* seconds: report it if it runs on after that."""
        if self._stuck_watch is None:
            self._stuck_watch = StuckWatch(self)
        self._stuck_watch.expect(trio.current_time() + grace)

    @property
    def background(self) -> list[Task]:
        """The background tasks of the incarnation that have begun."""
        return self._satellites.tasks() if self._satellites is not None else []

    def late_satellites(self) -> list[Task]:
        """The background tasks that were cancelled because the incarnation ends, and still run."""
        return self.background if self._satellites is not None and self._satellites.ending else []

    def close(self) -> None:
        """Nothing runs here until it is launched anew: refuse mail and free the name, all below too."""
        for child in self.children.values():
            child.close()
        if self.life is Life.STOPPED:
            return
        self.life = Life.STOPPED
        self.system.observers.pop(self, None)
        self._settle_mail(self.mailbox.close(), self.recipe.mail_on_stop, "the actor has stopped")
        if self.recipe.name is not None:
            self.system.registry.release(self.recipe.name.key, self)

    def abandon(self) -> None:
        """Nothing will ever run here again: close it, and bury the mail that was kept for a next start."""
        self.close()
        for message in self.mailbox.empty():
            self._bury(message, "the actor is gone for good")
        for child in self.children.values():
            child.abandon()

    def _shed_mail(self) -> None:
        """The incarnation ended and another may follow: do what the recipe says with what waits."""
        if self.recipe.mail_on_restart is not MailFate.KEEP and not self.mailbox.closed:
            self._settle_mail(self.mailbox.empty(), self.recipe.mail_on_restart, "the actor restarts")

    def _settle_mail(self, mail: list[Message], fate: MailFate, why: str) -> None:
        """Whatever becomes of a message, the caller of a call is told."""
        for message in mail:
            if fate is MailFate.KEEP and not isinstance(message, Call):
                self.mailbox.queue.append(message)
            elif fate is MailFate.DROP:
                self.mailbox.dropped += 1
                self.system.refuse(self, message)
            else:
                self._bury(message, why)

    def _bury(self, message: Message, why: str) -> None:
        self.system.bury(self, message, why)

    # The life of the task.

    async def _run(self, delay: float) -> None:
        self.task = current_task()
        try:
            if delay:
                await self._pause(delay)
            while self._wanted():
                self.generation += 1
                self.since, self.ending_since = trio.current_time(), None
                self.incarnation = Incarnation(self)
                reason = await self.incarnation.live()
                self.incarnation = None
                verdict = self._judge(reason)
                if isinstance(verdict, Leave) and verdict.final:
                    self.close()
                    break
                self._shed_mail()
                if isinstance(verdict, Leave):
                    break
                self.count_restart(verdict.delay)
                await self._pause(verdict.delay)
        finally:
            self._finish()

    def _wanted(self) -> bool:
        """Whether another incarnation may begin: not once this place or its parent was told to end."""
        if self._order is not None:
            return False
        return self._starter is not None or self.parent is None or self.parent.decides

    def count_restart(self, delay: float = 0.0) -> None:
        """A restart that nobody ordered follows after *delay* seconds."""
        self.restarts += 1
        self.recent_restarts = (*self.recent_restarts, trio.current_time())[-KEPT_RESTARTS:]
        self.system.events.emit(ActorRestarting(actor=self.path, restarts=self.restarts, delay=delay))

    def _judge(self, reason: ExitReason) -> Verdict:
        """What follows: the starter and whoever ordered the end decide for themselves, else the owner."""
        if self._starter is not None:
            declined = isinstance(reason, Ignored)
            self.answer_starter(outcome.Value(False) if declined else self._start_failed(reason))
            return Leave(final=declined)
        if self._order is not None or (self.parent is not None and not self.parent.decides):
            return Leave(final=False)
        try:
            return self.owner.child_ended(self, reason)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - a mistake of the owner is the owner's crash.
            if not isinstance(error, Exception):
                self.system.fatal(error)
            if self.parent is not None:
                self.parent.strike(crash_of(error))
            return Leave(final=False)

    def answer_starter(self, answer: outcome.Outcome[bool] | None = None) -> None:
        """Wake whoever waits in `start`: by default it has started."""
        starter, self._starter = self._starter, None
        if starter is not None:
            reschedule(starter, answer or outcome.Value(True))

    def _start_failed(self, reason: ExitReason) -> outcome.Error:
        return outcome.Error(StartFailed(self.path, reason))

    def expects(self, reason: ExitReason) -> bool:
        """Whether *reason* is how the present incarnation was told to end, or may end by itself."""
        parent = self.parent
        ordered = self._order is not None or (parent is not None and not parent.decides)
        if self.recipe.expects(reason, ordered=ordered):
            return True
        return isinstance(reason, Killed) and parent is not None and parent.is_killed_as_planned

    @property
    def is_killed_as_planned(self) -> bool:
        """Whether it ends by the `BRUTAL_KILL` of its own recipe, or of one above it."""
        if self.incarnation is None or not isinstance(self.incarnation.fate, Killed):
            return False
        if self._order is not None and isinstance(self.recipe.shutdown, BrutalKill):
            return True
        return self.parent is not None and self.parent.is_killed_as_planned

    @property
    def decides(self) -> bool:
        """Whether the incarnation is in a state to decide about its children."""
        now = self.incarnation
        return now is not None and now.fate is None and self.life in (Life.STARTING, Life.RUNNING)

    def _finish(self) -> None:
        self.alive, self.task = False, None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self.mailbox.forget_signals()  # An order that came too late must not stop the next incarnation.
        if self._final:
            self.close()
        if self._starter is not None:  # Ordered to stop before it ran at all.
            self.answer_starter(self._start_failed(self._order or Killed()))
        ended = self._ended
        if ended is not None:
            self._ended = None
            ended.set()

    async def _pause(self, delay: float) -> None:
        """Wait before the next incarnation, or until the delay is cut short."""
        if not delay:
            await checkpoint()
            return
        with trio.move_on_after(delay) as self._pausing:
            await trio.sleep_forever()
        self._pausing = None

    def cut_pause(self) -> None:
        """Start the next incarnation now, or end if it was told to, instead of waiting for the delay."""
        if self._pausing is not None:
            self._pausing.cancel(reason="the delay was cut short")

    async def wind_up(self, incarnation: Incarnation, *, killed: bool) -> None:
        """End all that belongs to the incarnation that ends."""
        self.offer = None
        if self._satellites is not None:
            await self._satellites.end()
        incarnation.over = True  # From here on nothing can be added to what is ended.
        self._satellites = None
        self.mailbox.unstash()
        if self._timers is not None:
            self._timers.cancel_all()
            self._timers = None
        if self.children:
            await self._stop_children(killed=killed)
        self.mailbox.forget_signals()

    def ended_with(self, reason: ExitReason, ready_at: float | None) -> None:
        """The incarnation is over: keep why and when, tell who watches."""
        if self._stuck_watch is not None:
            self._stuck_watch.ended()
            self._stuck_watch = None
        self.exit_reason, self.life, self.since = reason, Life.RESTARTING, trio.current_time()
        self.lived = self.since - ready_at if ready_at is not None else 0.0
        if self._monitors is not None:
            self._monitors.tell(reason)

    async def _stop_children(self, *, killed: bool) -> None:
        """Reverse start order, each dead before the next is asked; or all at once."""
        reason = Killed("its parent was killed") if killed else Shutdown("its parent stops")
        with trio.CancelScope(shield=True):
            if self.parallel or killed:
                await self._stop_at_once(tuple(self.children.values()), reason)
            else:
                for child in reversed(tuple(self.children.values())):
                    await child.terminate(reason)
        for child in tuple(self.children.values()):
            if isinstance(child.owner, Spawner):
                self.drop_child(child)

    async def _stop_at_once(self, children: Sequence[Cell], reason: ExitReason) -> None:
        """Stop *children* with one alarm for all that have the same time to do so."""
        late: dict[float, list[Cell]] = {}
        for child in children:
            late.setdefault(child._order_end(reason), []).append(child)
        now, clock = trio.current_time(), self.system.clock
        alarms = [
            clock.at(now + time, partial(_too_late, them)) for time, them in late.items() if time < math.inf
        ]
        try:
            for child in children:
                await child._wait_over()
        finally:
            for alarm in alarms:
                alarm.cancel()

    def drop_child(self, child: Cell) -> None:
        """Forget a child that is dead."""
        child.abandon()
        self.children.pop(child.recipe.id, None)

    async def spawn(self, recipe: Recipe) -> Cell:
        """Start a child that nobody restarts. Raises `StartFailed`."""
        child = self.add_child(recipe, Spawner(self))
        try:
            if not await child.start():
                raise StartFailed(child.path, child.exit_reason)
        except BaseException:
            self.drop_child(child)
            raise
        return child


def _too_late(cells: Sequence[Cell]) -> None:
    for cell in cells:
        if cell.alive:
            cell._too_late()
