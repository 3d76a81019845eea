"""How the stop of a whole tree goes: how long it may take, and who holds it up, where, since when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from resprout.runtime.events import Event
from resprout.runtime.onloop import cells_below
from resprout.runtime.recipe import BrutalKill
from resprout.runtime.stack import place_of
from resprout.runtime.stuck import holding_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resprout.runtime.cell import Cell
    from resprout.runtime.exits import ExitReason
    from resprout.runtime.system import System

LONG: Final = 10.0
"""Seconds after which a stop is reported even if nobody had to be killed."""

KEPT: Final = 100  # Stragglers in a report.


@attrs.frozen(kw_only=True)
class Straggler:
    """An actor that held up the stop of its tree.

    Attributes:
        actor: Its path.
        place: Where its code waited when this was noted, ``shop/till.py:41 in on_stop``.
        since: When it was told to stop, or began to end by itself; on the trio clock.
        seconds: How long that was before this was noted.
        killed: Whether it was cancelled then because its time, or that of a supervisor above it, was over.
    """

    actor: str
    place: str
    since: float
    seconds: float
    killed: bool

    def __str__(self) -> str:
        what = "killed after" if self.killed else "still stopping after"
        return f"{self.actor}: {what} {self.seconds:.3g} s at {self.place or 'no place known'}"


@attrs.frozen(kw_only=True)
class StopReport:
    """How the stop of a tree went, or goes.

    Attributes:
        began: When it was ordered, or the root began to end by itself; on the trio clock.
        seconds: How long it took, or has taken so far.
        over: Whether all of the tree is dead.
        killed: How many actors had to be killed, planned kills (`BRUTAL_KILL`) not counted.
        stragglers: Who held it up, the first ones; those that others only waited for them are left out.
    """

    began: float
    seconds: float
    over: bool
    killed: int
    stragglers: tuple[Straggler, ...]

    def __str__(self) -> str:
        state = "took" if self.over else "goes on after"
        head = f"the stop {state} {self.seconds:.3g} s; actors killed: {self.killed}"
        return "\n".join((head, *map(str, self.stragglers)))


@attrs.frozen(kw_only=True)
class SlowStop(Event):
    """Somebody had to be killed in the stop of the tree, or it takes more than 10 s: told then, and at its end."""

    level = "warning"

    report: StopReport


class Stopping:
    """The stop of the tree of *system*, from its order to its end."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.reason: ExitReason | None = None  # Why the tree ends; None while it does not.
        self.when_it_begins: Callable[[float], None] = _ignore  # Is told the seconds it may take, at worst.
        self.report: StopReport | None = None  # Once it is over.
        self._began = 0.0
        self._killed: set[Cell] = set()
        self._seen: dict[Cell, Straggler] = {}

    def begin(self, root: Cell, reason: ExitReason) -> None:
        """The whole tree is about to end with *reason*; the first one counts."""
        if self.reason is not None:
            return
        self.reason, self._began = reason, trio.current_time()
        self.when_it_begins(seconds_left(root))
        self._system.clock.at(self._began + LONG, lambda: self._look(root), root)

    def note_kill(self, cell: Cell) -> None:
        """*cell* is about to be cancelled; called before, while it can be seen where it waits."""
        if self.reason is None or is_planned(cell):
            return
        self._killed.add(cell)
        self._note(cell, killed=True)

    def end(self, root: Cell) -> None:
        """All of the tree is dead."""
        if self.reason is None or self.report is not None:
            return
        self.report = self._told(over=True)
        if self._killed or self.report.seconds > LONG:
            self._system.events.emit(SlowStop(actor=root.path, report=self.report))

    def _look(self, root: Cell) -> None:
        if self.report is None:
            for cell in cells_below(root):
                if cell.alive and cell not in self._seen:
                    self._note(cell, killed=False)
            self._system.events.emit(SlowStop(actor=root.path, report=self._told(over=False)))

    def _note(self, cell: Cell, *, killed: bool) -> None:
        if len(self._seen) < KEPT or cell in self._seen:
            straggler = straggler_at(cell, trio.current_time(), killed=killed)
            if straggler is not None:
                self._seen[cell] = straggler

    def _told(self, *, over: bool) -> StopReport:
        return StopReport(
            began=self._began,
            seconds=trio.current_time() - self._began,
            over=over,
            killed=len(self._killed),
            stragglers=tuple(self._seen.values()),
        )


def straggler_at(cell: Cell, now: float, *, killed: bool = False) -> Straggler | None:
    """Who ends in *cell*; None if it was not told to end yet, or waits for others below it."""
    since = cell.ending_since
    tasks = holding_up(cell) if since is not None else []
    if since is None or not tasks:
        return None
    place = "; ".join(map(place_of, tasks))
    return Straggler(actor=cell.path, place=place, since=since, seconds=now - since, killed=killed)


def seconds_left(cell: Cell) -> float:
    """How long the stop of *cell*, with all that lives below it now, may take at worst."""
    if not cell.alive:
        return 0.0
    below: Iterable[float] = (seconds_left(child) for child in tuple(cell.children.values()))
    return cell.recipe.stops_within(below, at_once=cell.parallel)


def is_planned(cell: Cell) -> bool:
    """Whether it is killed because its recipe, or one above, says that this is how it ends."""
    above: Cell | None = cell
    while above is not None:
        if above.ending_since is not None and isinstance(above.recipe.shutdown, BrutalKill):
            return True
        above = above.parent
    return False


def _ignore(seconds: float) -> None:
    """Nobody wants to know."""
