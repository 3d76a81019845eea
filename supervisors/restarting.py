"""What a supervisor does about the ends of its children: restarts, groups, limits, its own end.

The usual case, one child to restart by itself, is decided synchronously in `child_ended` and carried out by the
child's own task. What takes time, such as the restart of a group, arrives in the control lane and is done by the
supervisor's task.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from resprout.runtime import Actor, Event, Ignored, Life, Shutdown, Signal, StartFailed
from resprout.runtime.owner import OUT_OF_RESTARTS, Leave, Restart
from resprout.supervisors.cooldown import CoolDown
from resprout.supervisors.ledger import Ledger
from resprout.supervisors.spec import AutoShutdown, ChildSpec, SupervisorSpec
from resprout.supervisors.strategy import ONE_FOR_ONE, TEMPORARY, is_clean, plan_restart, should_restart

if TYPE_CHECKING:
    from collections.abc import Iterator

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
class ChildLost(Signal):
    """*child* ended, and what follows cannot be done at once; decide now."""

    child: str
    generation: int
    reason: ExitReason


@attrs.frozen(kw_only=True)
class Retry(Signal):
    """Its delay is over: start *child* again, and those its strategy ties to it."""

    child: str
    generation: int


class Restarting(Actor):
    """Runs the children of *spec* and replaces them; the owner of their places."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self._spec = spec
        self._specs: dict[str, ChildSpec] = {}  # Of the children there are now, in start order.
        self._ledger = Ledger(spec.intensity)
        self._retries: dict[str, Retry] = {}  # By child; some are overtaken.
        self._taken_down: dict[
            str, int
        ] = {}  # By child: the generation that ends, or was down, with its group.
        self._busy = True  # Ends of children wait in the control lane.
        self._leaving = False

    # Its own life.

    async def on_start(self) -> None:
        """Start the children in order. Those added at runtime do not come back, as in OTP."""
        first = {spec.id: spec for spec in self._spec.children}
        for id, cell in list(self._cell.children.items()):
            if first.get(id) is not cell.recipe:
                self._cell.drop_child(cell)
        for spec in self._spec.children:
            if not await self._start(spec) and self._drops(spec):
                self._forget(spec.id)
        self._busy = False

    async def on_signal(self, signal: Signal) -> None:
        """Carry out what `child_ended` could not do synchronously."""
        match signal:
            case _ if self._leaving:
                pass
            case ChildLost(child=id, generation=generation, reason=reason) if self._is_down(id, generation):
                await self._replace(id, reason)
            case Retry(child=id, generation=generation) if self._is_down(id, generation):
                await self._start_again(id)
            case _:
                pass  # Overtaken: the child was started, stopped or dropped meanwhile.

    # Decisions.

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        """A child ended and nobody ordered it; what follows?"""
        if self._leaving:
            return Leave(final=False)
        spec = self._specs[cell.recipe.id]
        stays_down = not should_restart(spec.restart, reason)
        if self._is_held() or not (stays_down or self._spec.strategy is ONE_FOR_ONE):
            # A group is counted and restarted once, however many of it have ended by then.
            lost = ChildLost(child=spec.id, generation=cell.generation, reason=reason)
            self._cell.mailbox.signal(lost)
            return Leave(final=False)
        if stays_down:
            self._left(spec, reason)
            return Leave(final=True)
        delay = self._permit(cell)
        return Restart(delay) if delay is not None else Leave(final=False)

    def _is_held(self) -> bool:
        """Whether ends of children must wait: it is busy with a group, or suspended by an operator."""
        incarnation = self._cell.incarnation
        return self._busy or (incarnation is not None and incarnation.suspended)

    def _permit(self, cell: Cell) -> float | None:
        """Count a restart of *cell*: after which delay it may follow, or None if it may not."""
        now = trio.current_time()
        if self._ledger.count(now):
            return self._ledger.delay(self._specs[cell.recipe.id], cell.lived, self.context.random)
        policy, pause = self._spec.on_limit, None
        if isinstance(policy, CoolDown):
            pause = self._ledger.pause(now, policy)
            self._retry_in(pause, cell)
        self.context.emit(LimitReached(actor=self.context.path, child=cell.path, pause=pause))
        if pause is None:
            self._leave(OUT_OF_RESTARTS)
        return None

    def _left(self, spec: ChildSpec, reason: ExitReason) -> None:
        """A child ended for good by itself: drop it if it is not kept, and see whether to end as well."""
        if self._drops(spec):
            self._forget(spec.id)
        if isinstance(reason, Ignored):
            return  # Nothing has ended.
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
            self._leave(Shutdown("auto_shutdown"))

    def _significant_alive(self, besides: ChildSpec) -> bool:
        others = (spec for spec in self._specs.values() if spec.significant and spec.id != besides.id)
        return any(self._cell.children[spec.id].life is not Life.STOPPED for spec in others)

    def _leave(self, reason: Shutdown) -> None:
        self._leaving = True
        self.context.stop(reason)

    def _drops(self, spec: ChildSpec) -> bool:
        """Whether a child that has ended for good is forgotten, or kept to be restarted on request."""
        return spec.restart is TEMPORARY

    # Actions.

    async def _replace(self, id: str, reason: ExitReason) -> None:
        """Do now what `child_ended` had to put off."""
        spec, cell = self._specs[id], self._cell.children[id]
        if not should_restart(spec.restart, reason):
            cell.close()
            self._left(spec, reason)
            return
        delay = self._permit(cell)
        if delay:
            self._retry_in(delay, cell)
        elif delay is not None:
            await self._start_again(id)

    async def _start_again(self, failed: str) -> None:
        """Start *failed* and those it takes with it; a start that fails is retried, and counted."""
        if self._spec.strategy is ONE_FOR_ONE:
            cell = self._cell.children[failed]
            cell.count_restart()
            cell.launch()
            return
        plan = plan_restart(self._spec.strategy, tuple(self._specs), failed)
        self._busy = True
        try:
            with self._interruptible():
                for id in plan.stop:
                    cell = self._cell.children[id]
                    await cell.terminate(Shutdown("its group restarts"))
                    self._taken_down[id] = cell.generation
                    if self._specs[id].restart is TEMPORARY:
                        self._forget(id)
                for id in plan.start:
                    if id in self._specs and not await self._started_again(self._cell.children[id]):
                        break
        finally:
            self._busy = False

    async def _started_again(self, cell: Cell) -> bool:
        cell.count_restart()
        try:
            await cell.start()
        except StartFailed:
            delay = self._permit(cell)
            if delay is not None:
                self._retry_in(delay, cell)
            return False
        return True

    def _retry_in(self, seconds: float, cell: Cell) -> None:
        """By way of the clock even if *seconds* is 0, so that requests are served between the retries."""
        retry = self._retries[cell.recipe.id] = Retry(child=cell.recipe.id, generation=cell.generation)

        def ring() -> None:
            incarnation = self._cell.incarnation
            if incarnation is not None and incarnation.actor is self:
                self._cell.mailbox.signal(retry)

        self._cell.system.clock.at(trio.current_time() + seconds, ring, self._cell)

    async def _start(self, spec: ChildSpec) -> bool:
        """Start a child behind all others; False if it declined."""
        self._specs[spec.id] = spec
        children = self._cell.children
        if spec.id in children:
            children[spec.id] = children.pop(spec.id)  # Behind those started before it, where it belongs.
            children[spec.id].owner = self
        else:
            self._cell.add_child(spec, self)
        return await children[spec.id].start()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """A stop order does not wait for what this surrounds, such as a child's start that hangs."""
        incarnation = self._cell.incarnation
        if incarnation is None:
            raise LookupError(f"{self.context.path} has ended")
        incarnation.interruptible = True
        try:
            yield
        finally:
            incarnation.interruptible = False

    def _forget(self, id: str) -> None:
        self._specs.pop(id, None)
        self._ledger.forget(id)
        self._retries.pop(id, None)
        self._taken_down.pop(id, None)
        cell = self._cell.children.get(id)
        if cell is not None:
            self._cell.drop_child(cell)

    @property
    def _cell(self) -> Cell:
        return self.context.cell

    def _awaited(self) -> set[str]:
        """Who will be started by a retry that is to come."""
        order, strategy = tuple(self._specs), self._spec.strategy
        return {id for retry in self._pending() for id in plan_restart(strategy, order, retry.child).start}

    def _is_down(self, id: str, generation: int) -> bool:
        """Whether this generation of a child is to be replaced for its own sake.

        Not if its group took it down: it comes back with the group, after those that it depends on.
        """
        cell = self._cell.children.get(id)
        if cell is None or not self._is_waiting(cell) or self._taken_down.get(id) == generation:
            return False
        return cell.generation == generation

    def _pending(self) -> list[Retry]:
        """The retries to come, without those that were overtaken."""
        return [retry for retry in self._retries.values() if self._is_down(retry.child, retry.generation)]

    def _is_waiting(self, cell: Cell) -> bool:
        """Whether it is this supervisor's turn to start it again."""
        return not cell.alive and cell.life is Life.RESTARTING
