"""What must hold at every step of a simulation, whatever the tree and the faults."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import trio

from resprout.runtime import ActorExited, ActorRestarting, ActorStarted, Event, Life, Shutdown
from resprout.supervisors import SupervisorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resprout.runtime import System
    from resprout.runtime.cell import Cell
    from resprout.testing.budget import RestartBudget

ROUNDING = 1e-6
ORDERED_STOPS = ("its parent stops", "its group restarts")


class Watcher:
    """Looks at every event and at every quiet point; keeps the first promise that was broken."""

    def __init__(self, runtime: System, budget: RestartBudget) -> None:
        self._runtime = runtime
        self.broken: str = ""
        self.calls: dict[object, tuple[str, float]] = {}  # Open calls: to whom, and by when they must end.
        self._up: set[str] = {cell.path for cell in cells(runtime) if cell.running}
        self._falling: defaultdict[str, list[int]] = defaultdict(list)
        self._budget = budget
        budget.breaks = self.breaks

    def breaks(self, promise: str, what: str) -> None:
        """Note that *promise* was broken, if none was before."""
        self.broken = self.broken or f"{promise}: {what}"

    def event(self, event: Event) -> None:
        """Check what *event* says against what came before."""
        path, parent = event.actor, event.actor.rpartition("/")[0]
        match event:
            case ActorStarted():
                if path in self._up:
                    self.breaks("one incarnation at a time", f"{path} started and had not ended")
                self._up.add(path)
                self._falling.pop(parent, None)
                self._falling.pop(path, None)
            case ActorExited(reason=reason):
                self._up.discard(path)
                if isinstance(reason, Shutdown) and reason.detail in ORDERED_STOPS:
                    self._stopped_in_order(path, parent)
            case ActorRestarting():
                cell = find(self._runtime, path)
                if cell is not None:
                    self._budget.restarting(cell)
            case _:
                pass

    def _stopped_in_order(self, path: str, parent: str) -> None:
        cell = find(self._runtime, parent)
        if cell is None or cell.parallel or not isinstance(cell.recipe, SupervisorSpec):
            return
        position = list(cell.children).index(path.rpartition("/")[2])
        if self._falling[parent] and self._falling[parent][-1] < position:
            self.breaks("children stop in reverse order", f"{path} stopped after one that started before it")
        self._falling[parent].append(position)

    def quiet(self) -> None:
        """Nobody can run: check what must hold between two steps."""
        now = trio.current_time()
        for actor, until in self.calls.values():
            if now > until + ROUNDING:
                self.breaks("calls end", f"one to {actor} was due at {until:.3f} s and waits at {now:.3f} s")
        there = {cell.task for cell in cells(self._runtime) if cell.task is not None}
        alive = {cell.path for cell in cells(self._runtime) if cell.alive}
        for cell in cells(self._runtime):
            held = cell.incarnation
            if held is not None and held.suspended and held.current is not None:
                self.breaks("a suspended actor does nothing", f"{cell.path} is at work on {held.current}")
        for task in self._runtime.nursery.child_tasks:
            owner = task.name.partition(":")[0]
            if task not in there and not (":" in task.name and owner in alive) and "/" in owner:
                self.breaks("no orphans", f"a task of {task.name} runs and nobody owns it")

    def calm(self) -> None:
        """All faults are long over: every place runs, or was stopped for good."""
        for cell in cells(self._runtime):
            if cell.life not in (Life.RUNNING, Life.STOPPED):
                self.breaks("everything grows back", f"{cell.path} is still {cell.life.value}")

    def over(self) -> None:
        """The runtime has stopped: nothing is left."""
        left = [cell.path for cell in cells(self._runtime) if cell.alive]
        if left:
            self.breaks("nothing outlives the stop", ", ".join(left))


def cells(runtime: System) -> Iterator[Cell]:
    """Every place of the tree, parents first."""
    waiting = [runtime.root] if runtime.root is not None else []
    while waiting:
        cell = waiting.pop()
        yield cell
        waiting += cell.children.values()


def find(runtime: System, path: str) -> Cell | None:
    """The place at *path*, if there is one."""
    try:
        return runtime.ref(path)._find()
    except LookupError:
        return None
