"""The supervisor: starts its children in order, restarts them as its strategy says, stops them in reverse.

OTP 28's semantics; deviations are listed in docs/semantics.md. It is an actor itself: requests are messages,
and what it has to do about its children arrives in its control lane. The usual case, one child to restart by
itself, is decided synchronously in `child_ended` and carried out by the child's own task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from resprout.runtime import Actor, Event, Life, Shutdown, Signal, StartFailed
from resprout.runtime.backoff import delay
from resprout.runtime.owner import Leave, Restart
from resprout.supervisors.cooldown import CoolDown, Pauses, next_pause
from resprout.supervisors.errors import AlreadyPresent, ChildNotFound, ChildRunning, ChildStartFailed
from resprout.supervisors.intensity import Allowed, Exceeded, count_restart
from resprout.supervisors.spec import AutoShutdown, ChildSpec, SupervisorSpec
from resprout.supervisors.strategy import ONE_FOR_ONE, TEMPORARY, is_clean, plan_restart, should_restart

if TYPE_CHECKING:
    from resprout.runtime import ExitReason
    from resprout.runtime.cell import Cell
    from resprout.runtime.owner import Verdict


@attrs.frozen(kw_only=True)
class LimitReached(Event):
    """More restarts than the intensity allows; *child* was one too many. *pause* is None if it gives up."""

    level = "error"

    child: str
    pause: float | None


@attrs.frozen(kw_only=True)
class RestartGroup(Signal):
    """Restart *child* and those its strategy ties to it, if *generation* is still its last."""

    child: str
    generation: int


@attrs.frozen(kw_only=True)
class ChildLost(Signal):
    """*child* ended while this supervisor was busy; decide now."""

    child: str
    generation: int
    reason: ExitReason


@attrs.frozen
class ChildInfo:
    """What a supervisor says about a child: *state* is running, restarting or stopped."""

    id: str
    path: str
    state: str
    kind: str


@attrs.frozen
class ChildCounts:
    """*specs* in all, *active* ones alive; *supervisors* and *workers* counted dead or alive."""

    specs: int
    active: int
    supervisors: int
    workers: int


class Supervisor(Actor):
    """Runs the children of its spec. Made by `supervisor(…)`, not by hand."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self._spec = spec
        self._specs: dict[str, ChildSpec] = {}
        self._recent: tuple[float, ...] = ()
        self._failures: dict[str, int] = {}
        self._pauses = Pauses()
        self._busy = True

    # Requests.

    async def start_child(self, spec: ChildSpec) -> str:
        """Start one more child, after all others; returns its path. It is lost if this supervisor restarts.

        Raises:
            AlreadyPresent: The id is in use.
            ChildStartFailed: It did not start; its spec is dropped.
            TreeError: The spec is described wrongly (as `ChildStartFailed`'s cause).
        """
        path = f"{self.context.path}/{spec.id}"
        if spec.id in self._specs:
            raise AlreadyPresent(
                path, "the id is in use; terminate and delete that child or choose another id"
            )
        self._check(path, spec)
        try:
            await self._start(spec)
        except StartFailed as error:
            self._forget(spec.id)
            raise ChildStartFailed(path, str(error)) from error
        return path

    async def terminate_child(self, id: str) -> None:
        """Stop the child and keep its spec; a temporary child is dropped. Does nothing if it is stopped."""
        spec = self._wanted(id)
        cell = self._cell.children[id]
        await cell.terminate(Shutdown("terminated on request"))
        cell.close()
        if spec.restart is TEMPORARY:
            self._forget(id)

    async def restart_child(self, id: str) -> None:
        """Start a stopped child again.

        Raises:
            ChildNotFound: There is no such child.
            ChildRunning: It runs or restarts.
            ChildStartFailed: It did not start; its spec stays, stopped.
        """
        self._wanted(id)
        self._refuse_unless_stopped(id)
        cell = self._cell.children[id]
        try:
            await cell.start()
        except StartFailed as error:
            cell.close()
            raise ChildStartFailed(cell.path, str(error)) from error

    async def cycle_child(self, id: str) -> None:
        """Stop the child if it runs, and start it again: one request, so that it is never left half done.

        Raises:
            ChildNotFound: There is no such child.
            ChildStartFailed: It did not start; its spec stays, stopped.
        """
        self._wanted(id)
        cell = self._cell.children[id]
        await cell.terminate(Shutdown("restarted on request"))
        try:
            await cell.start()
        except StartFailed as error:
            cell.close()
            raise ChildStartFailed(cell.path, str(error)) from error

    async def delete_child(self, id: str) -> None:
        """Drop the spec of a stopped child. Raises `ChildNotFound` or `ChildRunning`."""
        self._wanted(id)
        self._refuse_unless_stopped(id)
        self._forget(id)

    async def which_children(self) -> list[ChildInfo]:
        """All children, the latest first."""
        return [self._info(id) for id in reversed(self._specs)]

    async def count_children(self) -> ChildCounts:
        """How many children there are, of which kind."""
        supervisors = sum(isinstance(spec, SupervisorSpec) for spec in self._specs.values())
        active = sum(self._info(id).state == "running" for id in self._specs)
        return ChildCounts(len(self._specs), active, supervisors, len(self._specs) - supervisors)

    # Its own life.

    async def on_start(self) -> None:
        """Start the children in order. Those added at runtime do not come back, as in OTP."""
        for id, cell in list(self._cell.children.items()):
            if all(id != spec.id for spec in self._spec.children):
                self._cell.drop_child(cell)
        for spec in self._spec.children:
            await self._start(spec)
        self._busy = False

    async def on_signal(self, signal: Signal) -> None:
        """Carry out what `child_ended` could not do synchronously."""
        match signal:
            case RestartGroup(child=id, generation=generation) if self._is_down(id, generation):
                await self._restart_group(id)
            case ChildLost(child=id, generation=generation, reason=reason) if self._is_down(id, generation):
                cell = self._cell.children[id]
                match self._decide(cell, reason):
                    case Restart(delay=seconds):
                        cell.restarts += 1
                        cell.launch(seconds)
                    case Leave(final=True):
                        cell.close()
            case _:
                pass  # Overtaken: the child was started, stopped or dropped meanwhile.

    # Decisions.

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        """A child ended and nobody ordered it; what follows?"""
        if self._busy:
            lost = ChildLost(child=cell.recipe.id, generation=cell.generation, reason=reason)
            self._cell.mailbox.signal(lost)
            return Leave(final=False)
        return self._decide(cell, reason)

    def _decide(self, cell: Cell, reason: ExitReason) -> Verdict:
        spec = self._specs[cell.recipe.id]
        if not should_restart(spec.restart, reason):
            self._left(spec, reason)
            return Leave(final=True)
        if not self._allowed(cell):
            return Leave(final=False)
        if self._spec.strategy is ONE_FOR_ONE:
            return Restart(self._delay(spec, cell))
        self._cell.mailbox.signal(RestartGroup(child=spec.id, generation=cell.generation))
        return Leave(final=False)

    def _allowed(self, cell: Cell) -> bool:
        """Count a restart; at the limit, give up or pause."""
        now = trio.current_time()
        match count_restart(self._recent, now, self._spec.intensity):
            case Allowed(recent=recent):
                self._recent = recent
                return True
            case Exceeded():
                self._limit_reached(cell, now)
                return False

    def _limit_reached(self, cell: Cell, now: float) -> None:
        policy, pause = self._spec.on_limit, None
        if isinstance(policy, CoolDown):
            pause, self._pauses = next_pause(self._pauses, now, policy)
            self._recent = ()
            retry = RestartGroup(child=cell.recipe.id, generation=cell.generation)
            self._cell.system.clock.at(now + pause, lambda: self._retry(retry))
        self.context.emit(LimitReached(actor=self.context.path, child=cell.path, pause=pause))
        if pause is None:
            self.context.stop(Shutdown("reached max restart intensity"))

    def _retry(self, signal: RestartGroup) -> None:
        incarnation = self._cell.incarnation
        if incarnation is not None and incarnation.actor is self:
            self._cell.mailbox.signal(signal)

    def _delay(self, spec: ChildSpec, cell: Cell) -> float:
        if spec.backoff is None:
            return 0.0
        lived = trio.current_time() - cell.since
        failures = 1 if lived > spec.backoff.cap else self._failures.get(spec.id, 0) + 1
        self._failures[spec.id] = failures
        return delay(spec.backoff, failures, self.context.random)

    def _left(self, spec: ChildSpec, reason: ExitReason) -> None:
        """A child ended for good by itself: drop a temporary one, and see whether to end as well."""
        if spec.restart is TEMPORARY:
            self._specs.pop(spec.id)
            self._cell.children.pop(spec.id)
        if not spec.significant or not (is_clean(reason) or spec.restart is TEMPORARY):
            return
        match self._spec.auto_shutdown:
            case AutoShutdown.ANY_SIGNIFICANT:
                done = True
            case AutoShutdown.ALL_SIGNIFICANT:
                done = not self._significant_alive(besides=spec)
            case _:
                done = False
        if done:
            self.context.stop(Shutdown("auto_shutdown"))

    def _significant_alive(self, besides: ChildSpec) -> bool:
        others = (spec for spec in self._specs.values() if spec.significant and spec.id != besides.id)
        return any(self._info(spec.id).state != "stopped" for spec in others)

    # Actions.

    async def _restart_group(self, failed: str) -> None:
        """Stop and start all that *failed* takes with it; a start that fails is retried, and counted."""
        plan = plan_restart(self._spec.strategy, tuple(self._specs), failed)
        self._set_busy(True)
        try:
            for id in plan.stop:
                await self._cell.children[id].terminate(Shutdown("its group restarts"))
                if self._specs[id].restart is TEMPORARY:
                    self._forget(id)
            for id in plan.start:
                if id in self._specs and not await self._started_again(self._cell.children[id]):
                    break
        finally:
            self._set_busy(False)

    def _set_busy(self, busy: bool) -> None:
        """While it is busy, ends of children wait in the control lane, and a stop order interrupts it."""
        self._busy = busy
        if self._cell.incarnation is not None:
            self._cell.incarnation.interruptible = busy

    async def _started_again(self, cell: Cell) -> bool:
        if cell.alive:
            return True
        cell.restarts += 1
        try:
            await cell.start()
        except StartFailed:
            if self._allowed(cell):
                self._cell.mailbox.signal(RestartGroup(child=cell.recipe.id, generation=cell.generation))
            return False
        return True

    async def _start(self, spec: ChildSpec) -> None:
        self._specs[spec.id] = spec
        cell = self._cell.children.get(spec.id) or self._cell.add_child(spec, self)
        cell.owner = self
        await cell.start()

    def _forget(self, id: str) -> None:
        self._specs.pop(id, None)
        self._failures.pop(id, None)
        cell = self._cell.children.get(id)
        if cell is not None:
            self._cell.drop_child(cell)

    # Looking.

    @property
    def _cell(self) -> Cell:
        return self.context.cell

    def _check(self, path: str, spec: ChildSpec) -> None:
        spec.check(path, {})

    def _wanted(self, id: str) -> ChildSpec:
        try:
            return self._specs[id]
        except KeyError:
            known = ", ".join(self._specs) or "none"
            raise ChildNotFound(f"{self.context.path}/{id}", f"no such child; there are: {known}") from None

    def _refuse_unless_stopped(self, id: str) -> None:
        if self._cell.children[id].life is not Life.STOPPED:
            raise ChildRunning(f"{self.context.path}/{id}", "it runs or restarts; terminate it first")

    def _is_down(self, id: str, generation: int) -> bool:
        cell = self._cell.children.get(id)
        return cell is not None and not cell.alive and cell.generation == generation

    def _info(self, id: str) -> ChildInfo:
        cell = self._cell.children[id]
        state = {Life.RESTARTING: "restarting", Life.STOPPED: "stopped"}.get(cell.life, "running")
        kind = "supervisor" if isinstance(self._specs[id], SupervisorSpec) else "worker"
        return ChildInfo(id, cell.path, state, kind)
