"""What an actor can do besides handling messages; one context per incarnation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Concatenate, Generic, NoReturn, ParamSpec, TypeVar, TypeVarTuple

import structlog
from trio.lowlevel import current_task

from resprout.runtime.crash import PutAside
from resprout.runtime.errors import StashFull
from resprout.runtime.exits import Normal
from resprout.runtime.idle import IdleTimer
from resprout.runtime.life import Life
from resprout.runtime.recipe import Recipe
from resprout.runtime.ref import Ref
from resprout.runtime.reply import Promises
from resprout.runtime.timers import Beat

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from resprout.runtime.actor import Actor
    from resprout.runtime.cell import Cell
    from resprout.runtime.events import Event
    from resprout.runtime.exits import ExitReason
    from resprout.runtime.incarnation import Incarnation
    from resprout.runtime.names import Name
    from resprout.runtime.ref import Address
    from resprout.runtime.reply import Reply
    from resprout.runtime.timers import Timer

A = TypeVar("A", bound="Actor")
B = TypeVar("B", bound="Actor")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Context(Generic[A]):
    """The actor's own ref, children, background tasks, timers, events and log.

    All of it ends with this incarnation: tasks and timers are cancelled, spawned children stopped. After that
    its methods that do something raise `RuntimeError`: what is left of an actor must not act for its successor.
    """

    __slots__ = ("_cell", "_incarnation", "_log")

    def __init__(self, cell: Cell, incarnation: Incarnation) -> None:
        self._cell, self._incarnation = cell, incarnation
        self._log: structlog.typing.FilteringBoundLogger | None = None

    @property
    def ref(self) -> Ref[A]:
        """The actor's own address."""
        return Ref(self._cell)

    @property
    def cell(self) -> Cell:
        """The place in the tree itself; for supervisors and other parts of the runtime."""
        return self._cell

    @property
    def path(self) -> str:
        """Where the actor is in the tree, such as ``app/redis``."""
        return self._cell.path

    @property
    def random(self) -> random.Random:
        """The runtime's source of randomness, which tests can seed."""
        return self._cell.system.random

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A structlog logger that knows the actor's path."""
        if self._log is None:
            self._log = structlog.get_logger("resprout").bind(actor=self._cell.path)
        return self._log

    def start_soon(self, task: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Run `task(*args)` beside the message loop until the actor ends.

        Crashes the actor if it raises. A task that returns is forgotten.
        """
        self._here().satellites.start(task, args)

    async def spawn(self, id: str, start: Callable[[], B]) -> Ref[B]:
        """Start a child actor under the id *id* that ends with this one; returns once its `on_start` has.

        Nobody restarts it: its end arrives as `ChildExit`, which by default crashes this actor if unclean.

        Raises:
            StartFailed: `on_start` raised or took too long.
            ValueError: A child of this id is running.
        """
        return Ref(await self._here().spawn(Recipe(id=id, start=start)))

    def monitor(self, ref: Address[B]) -> Callable[[], None]:
        """Have one `Down` signal delivered when the present incarnation of *ref* ends; at once if it has.

        Returns a function that ends the monitor.
        """
        return ref._find().monitors.watch(self._here())

    def link(self, ref: Address[B]) -> None:
        """Share fate both ways: the crash or kill of one crashes the other with `LinkedExit`, its stop stops it.

        An actor that traps exits gets a `PeerExit` signal instead. Linking twice is linking once.

        Raises:
            LinkedExit: *ref* is down already.
        """
        self._here().monitors.link(ref._find())

    def unlink(self, ref: Address[B]) -> None:
        """Undo `link`: from now on nothing of it arrives, not even a `PeerExit` that waits unread."""
        self._here().monitors.unlink(ref._find())

    def trap_exits(self) -> None:
        """Learn of the ends of linked actors by `PeerExit` signals, whatever their reason, and live on."""
        self._here().monitors.trapping = True

    def after(
        self,
        seconds: float,
        method: Callable[Concatenate[A, P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Timer:
        """Cast *method* to this actor in *seconds*."""
        return self._here().timers.after(seconds, method.__name__, args, kwargs)

    def every(
        self,
        seconds: float,
        method: Callable[Concatenate[A, P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Timer:
        """Cast *method* to this actor every *seconds*, first after one period; never two in the mailbox."""
        return self._here().timers.every(seconds, method.__name__, args, kwargs)

    def then(
        self,
        method: Callable[Concatenate[A, P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Run *method* of this actor right after the method or hook that calls this, before all that waits.

        Several run in the order they were asked for; what one of them asks for comes before the others. None
        runs any more once the actor crashed or was told to stop. One that cannot run crashes the actor.

        Raises:
            RuntimeError: Called in `on_stop` or outside of the actor's own task: use `ref.cast` there. Or in
                the `on_enter` of a `StateMachine`, which may set timeouts and no more.
        """
        cell = self._here()
        if current_task() is not cell.task or cell.life is Life.STOPPING:
            raise RuntimeError(
                f"then() belongs into a method or hook of {self.path} before it stops; cast to it from other tasks"
            )
        if self._incarnation.actor is not None:
            self._incarnation.actor._check_then()
        cell.timers.now(method.__name__, args, kwargs, asked_by=self._incarnation.current)

    def stash(self) -> NoReturn:
        """Put the message in work aside, unanswered, and leave its method; `unstash` brings it back.

        The method begins anew then. A call's deadline goes on meanwhile, and one that is withdrawn never runs.
        As many messages may be put aside as the mailbox holds. When the actor ends they are the first that
        its next incarnation handles.

        Raises:
            StashFull: That many are put aside already; uncaught, it crashes the actor.
            RuntimeError: There is no message in work, as in `on_start` or in a task of its own; or its answer
                was promised by `reply_later`.
        """
        cell = self._here()
        if self._incarnation.current is None or current_task() is not cell.task:
            raise RuntimeError(
                f"{self.path} is not at work on a message here; call stash() in the message's own method and task"
            )
        if self._incarnation.promises is not None and self._incarnation.current in self._incarnation.promises:
            raise RuntimeError(f"{self.path} promised to answer this message later; do not stash it as well")
        aside = cell.mailbox.aside
        if aside is not None and len(aside) >= cell.mailbox.capacity:
            raise StashFull(self.path, cell.mailbox.capacity)
        raise PutAside

    def unstash(self) -> None:
        """Bring back all that was put aside: before the mail that waits, in its order."""
        self._here().mailbox.unstash()

    def idle_after(
        self,
        seconds: float,
        method: Callable[Concatenate[B, P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Cast *method* to this actor whenever nothing has come for *seconds*; `math.inf` ends it.

        There is one such time per actor; setting it again replaces it. Orders of an operator, who only
        looks, do not count as something.
        """
        cell = self._here()
        incarnation = self._incarnation
        if incarnation.idle is not None:
            incarnation.idle.cancel()
            incarnation.idle = None
        if not seconds > 0:
            raise ValueError(
                f"an idle time must be more than 0 seconds, not {seconds!r}; use math.inf for none"
            )
        if seconds != math.inf:
            beat = Beat(method.__name__, args, kwargs)
            incarnation.idle = IdleTimer(cell, seconds, beat)

    def reply_later(self) -> Reply[T]:
        """Promise to answer the message in work later; the method returns `Reply.promise`.

        Of a cast nobody waits for the answer; a reply to it goes nowhere.

        Raises:
            RuntimeError: There is no message in work, as in `on_start` or in a background task.
        """
        self._here()
        incarnation = self._incarnation
        if incarnation.current is None or current_task() is not incarnation.cell.task:
            raise RuntimeError(
                f"{self.path} is not at work on a message here; call reply_later() in the method that the caller called"
            )
        if incarnation.promises is None:
            incarnation.promises = Promises()
        return incarnation.promises.make(incarnation.current)

    def lookup(self, name: Name[B]) -> Ref[B]:
        """The place in the tree that holds *name*, or raise `NotFoundError`."""
        return Ref(self._cell.system.registry.find(name.key))

    def emit(self, event: Event) -> None:
        """Report *event* on the runtime's event stream."""
        self._cell.system.events.emit(event)

    def offer(self, face: object) -> None:
        """Publish *face* to clients in this process (`Ref.offered`) until this incarnation ends."""
        self._here().offer = face

    def stop(self, reason: ExitReason = Normal()) -> None:  # noqa: B008 - Normal is frozen.
        """End with *reason* once the message in work is done; the supervisor decides what follows."""
        self._here().leave(reason)

    def _here(self) -> Cell:
        if self._incarnation.over or self._cell.incarnation is not self._incarnation:
            raise RuntimeError(f"this incarnation of {self.path} has ended; its context is of no use now")
        return self._cell
