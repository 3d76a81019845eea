"""What each event adds to which metric. Pure: an event in, increments out.

Events of your own can be counted too: ``@increments.register``.
"""

from __future__ import annotations

from functools import singledispatch

import attrs

from resprout.actors.metrics.family import Family
from resprout.runtime.events import Event


@attrs.frozen
class Increment:
    """Add *amount* to *family* at *labels*, or for a histogram: observe it."""

    family: Family
    labels: tuple[str, ...]
    amount: float = 1.0


Increments = tuple[Increment, ...]


@singledispatch
def increments(event: Event) -> Increments:
    """What *event* adds. Nothing, unless somebody has registered a rule for its class.

    Label values are as the event has them; `Tallies` makes them few.
    """
    return ()


def one(family: Family, *labels: str, amount: float = 1.0) -> Increments:
    """A single increment."""
    return (Increment(family, labels, amount),)
