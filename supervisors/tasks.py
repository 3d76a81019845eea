"""One-off work under supervision: bounded, shown in the tree, stopped in order, and nobody falls with it."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, cast

import attrs
import trio
from trio.lowlevel import current_task, wait_task_rescheduled

from resprout.runtime import ActorCrashed, ActorStopped, Crashed, Shutdown, TreeError
from resprout.runtime.message import Call, Message
from resprout.runtime.recipe import BrutalKill, is_time
from resprout.supervisors.dynamic import DynamicSupervisor
from resprout.supervisors.errors import TooManyChildren
from resprout.supervisors.job import Job, JobSpec, TaskFailed, TaskStopped, Work
from resprout.supervisors.spec import SupervisorSpec
from resprout.supervisors.strategy import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from resprout.runtime import Address, ExitReason, Fact, ShutdownTime
    from resprout.runtime.cell import Cell
    from resprout.runtime.owner import Verdict

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@attrs.frozen(kw_only=True)
class TaskSupervisorSpec(SupervisorSpec):
    """A task supervisor, as data; *task_shutdown*: seconds each task may take to stop."""

    task_shutdown: ShutdownTime = 5.0

    def check(self, path: str, names: dict[str, str]) -> None:
        """See `Recipe.check`."""
        if not isinstance(self.task_shutdown, BrutalKill) and not is_time(self.task_shutdown, least=0):
            raise TreeError(
                f"{path}: task_shutdown must be seconds >= 0 or BRUTAL_KILL, not {self.task_shutdown!r}; correct it"
            )
        super().check(path, names)


class TaskSupervisor(DynamicSupervisor):
    """Its children are tasks: each does one piece of work and is gone. Use it by way of `Tasks`."""

    def __init__(self, spec: TaskSupervisorSpec) -> None:
        super().__init__(spec)
        self._task_shutdown = spec.task_shutdown
        self._numbers = itertools.count(1)
        self._done = self._failed = self._refused = 0

    async def on_start(self) -> None:
        """Start empty, and let clients in."""
        await super().on_start()
        self.context.offer(TaskDesk(self))

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        """A task ended by itself: count it and forget it."""
        if isinstance(reason, Crashed):
            self._failed += 1
        else:
            self._done += 1
        return super().child_ended(cell, reason)


class TaskDesk:
    """What a task supervisor offers to clients in its process: work starts without a message to it."""

    def __init__(self, supervisor: TaskSupervisor) -> None:
        self._supervisor = supervisor

    def describe(self) -> Mapping[str, Fact]:
        """How many tasks run, and what became of the others since the supervisor started."""
        of = self._supervisor
        return {"running": len(of._specs), "done": of._done, "failed": of._failed, "refused": of._refused}

    def admit(self, work: Work, name: str, *, awaited: bool) -> Cell:
        """A place for *work*; it begins once it has a message. Raises `TooManyChildren` or `ActorStopped`."""
        of, home = self._supervisor, self._supervisor.context.cell
        limit = of._spec.max_children
        if limit is not None and len(of._specs) >= limit:
            of._refused += 1
            raise TooManyChildren(home.path, f"it has its {limit} tasks; wait until one has ended", limit)
        if not home.decides or of._leaving:
            raise ActorStopped(home.path, Shutdown("it is about to end"))
        spec = JobSpec(
            id=f"{name}-{next(of._numbers)}",
            start=partial(Job, work),
            restart=TEMPORARY,
            shutdown=of._task_shutdown,
            mailbox=1,
            awaited=awaited,
        )
        of._specs[spec.id] = spec
        return home.add_child(spec, of)


class Tasks:
    """Runs async functions as tasks of a task supervisor; a constant that application code can hold.

    Args:
        supervisor: Its `Name` or ref.
    """

    def __init__(self, supervisor: Address[TaskSupervisor]) -> None:
        self._supervisor = supervisor

    async def run(self, function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run ``function(*args)`` and return its result. If the caller is cancelled, so is the task.

        There is no deadline but the caller's own: use `trio.fail_after`. While the task supervisor is being
        restarted it is waited for.

        Raises:
            TaskFailed: It raised; the cause is in `cause`.
            ReplyError: It raised this one, which is an answer.
            TaskStopped: It was stopped before it had finished.
            TooManyChildren: As many tasks run as may.
            ActorStopped: The task supervisor has ended; nothing was started.
        """
        work, name = _work(function, args)
        if self._supervisor.offered(TaskDesk) is None:
            await self._supervisor.call(TaskSupervisor.count_children)  # Answered once it is there again.
        cell = self._desk().admit(work, name, awaited=True)
        del work  # Its arguments live no longer than they are needed.
        call = Call(Job.answer.__name__, (), {}, current_task(), 0.0, cell.mailbox)
        cell.mailbox.put(call)
        cell.launch()
        try:
            return cast("T", await wait_task_rescheduled(call.abort))
        except trio.Cancelled:
            await _cancel(cell)  # noqa: ASYNC102 - shielded in there, and bounded.
            raise
        except ActorCrashed as crash:
            if isinstance(crash.cause, ActorStopped) and crash.cause.actor == cell.path:
                raise TaskStopped(cell.path, crash.cause.reason) from None
            raise TaskFailed(cell.path, crash.cause) from crash.cause

    def start_soon(self, function: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> str:
        """Run ``function(*args)`` without waiting for it; returns its path.

        If it raises, that is an event and a count of its supervisor, and harms nobody.

        Raises:
            TooManyChildren: As many tasks run as may.
            ActorStopped: The task supervisor has ended, or is being restarted; nothing was started.
        """
        work, name = _work(function, args)
        cell = self._desk().admit(work, name, awaited=False)
        cell.mailbox.put(Message(Job.perform.__name__, (), {}))
        cell.launch()
        return cell.path

    def _desk(self) -> TaskDesk:
        desk = self._supervisor.offered(TaskDesk)
        if desk is None:
            cell = self._supervisor._find()
            raise ActorStopped(cell.path, cell.exit_reason)
        return desk


async def _cancel(cell: Cell) -> None:
    """End the task at once: its shutdown time is for its cleanup only. Returns when it is dead."""
    reason = Shutdown("its caller was cancelled")
    cell.strike(reason)
    with trio.CancelScope(shield=True):  # Bounded by the shutdown time, after which it is killed.
        await cell.terminate(reason, final=True)
    owner = cell.owner
    if isinstance(owner, TaskSupervisor):
        owner._forget(cell.recipe.id)


def _work(function: Callable[[*Ts], Awaitable[object]], args: tuple[*Ts]) -> tuple[Work, str]:
    if not callable(function):
        raise TypeError(f"{function!r} is no async function; pass the function and then its arguments")
    made = getattr(function, "func", function)  # Of a partial.
    return partial(function, *args), getattr(made, "__name__", type(made).__name__)
