"""What a metric is, as data."""

from __future__ import annotations

import enum
import math
from itertools import product
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX: Final = "resprout_"


class Kind(enum.Enum):
    """Prometheus' word for what a value does."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class About(enum.Enum):
    """What a metric says something about. All but RUNTIME and OTHERS begin with a zero for each one found."""

    RUNTIME = "the runtime"
    ACTOR = "a place in the tree"
    CONNECTION = "a connection"
    BREAKER = "a circuit breaker"
    RETRIES = "a retry budget"
    POOL = "a pool of connections"
    QUEUE = "a queue of messages"
    HEALTH = "a watched service"
    OTHERS = "what shows itself by its first event"


@attrs.frozen(eq=False, kw_only=True)
class Family:
    """One metric.

    Attributes:
        name: In full, with the prefix.
        kind: Counter, gauge or histogram.
        help: A sentence.
        about: What it says something about: one such thing is the value of the first label.
        labels: Names of its labels.
        values: The possible values of labels that have a fixed set of them.
        bounds: Upper bounds of a histogram's buckets.
        counted: Whether events are counted, rather than something read at each scrape.
    """

    name: str
    kind: Kind
    help: str
    about: About
    labels: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    bounds: tuple[float, ...] = ()
    counted: bool = False

    def rows(self, subjects: Iterable[str]) -> list[tuple[str, ...]]:
        """The label values there must be, if *subjects* are all there is to say something about."""
        choices = [self.values.get(label, ()) for label in self.labels]
        if self.about is not About.RUNTIME and self.labels:
            choices[0] = tuple(subjects)
        return list(product(*choices))


@attrs.define
class Histogram:
    """Observations of one histogram: how many in each bucket, and their sum."""

    bounds: tuple[float, ...]
    counts: list[int] = attrs.field(init=False)
    total: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count *value*."""
        place = next((i for i, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        self.counts[place] += 1
        self.total += value

    def buckets(self) -> list[tuple[float, int]]:
        """Upper bounds with how many observations are at most that.

        >>> histogram = Histogram((1.0, 5.0))
        >>> histogram.observe(1.0); histogram.observe(9.0)
        >>> histogram.buckets()
        [(1.0, 1), (5.0, 1), (inf, 2)]
        """
        below, found = 0, []
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            below += count
            found.append((bound, below))
        return found
