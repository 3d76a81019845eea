"""The restart budget of every supervisor in a simulation, whatever its strategy.

What a supervisor grants itself is seen where it asks its ledger, what it does with that in its events: a
restart, or the restart of a group, which is told once for each member, must have been granted, and no period
may hold more grants than the intensity allows.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from resprout.supervisors import ONE_FOR_ONE
from resprout.supervisors.ledger import Ledger
from resprout.supervisors.restarting import Restarting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resprout.runtime.cell import Cell
    from resprout.supervisors import CoolDown


class RestartBudget:
    """Counts grants and rounds of restarts; tells *breaks* of one too many."""

    def __init__(self) -> None:
        self._recent: dict[Ledger, list[float]] = {}
        self._granted: Counter[Ledger] = Counter()
        self._rounds: Counter[Ledger] = Counter()
        self._last: dict[Ledger, int] = {}  # Position of the child restarted last.
        self.breaks: Callable[[str, str], None] = lambda promise, what: None

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """For the length of the block, what the ledgers of the process say is counted."""
        count, pause = Ledger.count, Ledger.pause

        def counted(ledger: Ledger, now: float) -> bool:
            granted = count(ledger, now)
            if granted:
                self._grant(ledger, now)
            return granted

        def paused(ledger: Ledger, now: float, policy: CoolDown) -> float:
            self._recent[ledger] = []
            self._granted[ledger] += 1  # The one after the pause.
            return pause(ledger, now, policy)

        Ledger.count = counted  # type: ignore[assignment, method-assign]  # for this block
        Ledger.pause = paused  # type: ignore[assignment, method-assign]  # for this block
        try:
            yield
        finally:
            Ledger.count, Ledger.pause = count, pause  # type: ignore[method-assign]  # as it was

    def _grant(self, ledger: Ledger, now: float) -> None:
        limit = ledger._limit
        recent = [at for at in self._recent.get(ledger, ()) if at >= now - limit.period] + [now]
        self._recent[ledger] = recent
        self._granted[ledger] += 1
        if len(recent) > limit.max_restarts:
            self.breaks("the restart budget", f"{len(recent)} in {limit.period:g} s, {limit} allows fewer")

    def restarting(self, cell: Cell) -> None:
        """*cell* is about to be restarted: is that granted?"""
        owner, parent = cell.owner, cell.parent
        if not isinstance(owner, Restarting) or parent is None:
            return
        ledger, position = owner._ledger, list(parent.children).index(cell.recipe.id)
        if owner._spec.strategy is ONE_FOR_ONE or position <= self._last.get(ledger, position):
            self._rounds[ledger] += 1
        self._last[ledger] = position
        if self._rounds[ledger] > self._granted[ledger]:
            self.breaks(
                "the restart budget", f"{cell.path} restarts at {trio.current_time():.3f} s without leave"
            )
