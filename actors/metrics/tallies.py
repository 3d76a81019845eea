"""Counts the events of one runtime, from its first reader to its end."""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakKeyDictionary

from resprout.actors.metrics import catalogue
from resprout.actors.metrics.family import About, Family, Histogram, Kind
from resprout.actors.metrics.increments import Increment, increments
from resprout.actors.metrics.labels import Labels
from resprout.actors.metrics.rules import engine as _engine  # noqa: F401 - registers its rules.
from resprout.actors.metrics.rules import services as _services  # noqa: F401 - the same.
from resprout.runtime.system import System

if TYPE_CHECKING:
    from resprout.runtime.events import Event

Row: TypeAlias = tuple[Family, tuple[str, ...]]

# Loaded at the first event of such a module: each needs an extra that may not be installed.
LATE_RULES: Final = {
    "resprout.actors.postgres.events": "resprout.actors.metrics.rules.postgres",
    "resprout.actors.mcp.events": "resprout.actors.metrics.rules.mcp",
    "resprout.actors.websocket.events": "resprout.actors.metrics.rules.websocket",
}


class Tallies:
    """A subscriber of the event stream. Costs a dictionary's access for each event, and nothing else."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.counts: defaultdict[Row, float] = defaultdict(float)
        self.histograms: dict[Row, Histogram] = {}
        self.subjects: defaultdict[About, set[str]] = defaultdict(set)
        self._late = dict(LATE_RULES)

    def __call__(self, event: Event) -> None:
        """Count *event*. Never raises: the stream would drop this subscriber for good."""
        try:
            if self._late:
                self._load_rules_for(event)
            for found in increments(event):
                self._add(found, event.actor)
        except Exception:  # noqa: BLE001 - counted itself, and there is an alert for it.
            self.counts[catalogue.COUNTING_FAILURES, ()] += 1

    def _load_rules_for(self, event: Event) -> None:
        rules = self._late.pop(type(event).__module__, None)
        if rules is not None:
            import_module(rules)

    def _add(self, found: Increment, actor: str) -> None:
        family = found.family
        row = family, tuple(map(self._few, family.labels, found.labels, [actor] * len(found.labels)))
        if family.kind is Kind.HISTOGRAM:
            self.histogram(row).observe(found.amount)
        else:
            self.counts[row] += found.amount

    def _few(self, label: str, value: str, actor: str) -> str:
        if label == "actor":
            return self.labels.actor(value)
        return self.labels.service(value, actor) if label == "service" else value

    def histogram(self, row: Row) -> Histogram:
        """The histogram at *row*, made if there is none."""
        found = self.histograms.get(row)
        if found is None:
            found = self.histograms[row] = Histogram(row[0].bounds)
        return found


_tallies: WeakKeyDictionary[System, Tallies] = WeakKeyDictionary()


def tallies_of(system: System) -> Tallies:
    """What was counted in *system* since this was first asked: it outlives restarts of whoever asks."""
    found = _tallies.get(system)
    if found is None:
        if system.root is None:
            raise RuntimeError("metrics need a tree that has begun to start")
        found = _tallies[system] = Tallies(Labels(system.root.recipe))
        system.events.subscribe(found)
    return found
