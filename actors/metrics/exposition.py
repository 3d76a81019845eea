"""Turns what was counted and what was read into Prometheus' text."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from resprout.actors.metrics.catalogue import FAMILIES, READY
from resprout.actors.metrics.family import About, Histogram, Kind
from resprout.actors.metrics.survey import survey
from resprout.actors.metrics.tallies import tallies_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from resprout.actors.metrics.family import Family
    from resprout.actors.metrics.survey import Survey
    from resprout.actors.metrics.tallies import Row
    from resprout.runtime.system import System


async def scrape(
    system: System, *, accept: str = "", ready: bool | None = None, more: Iterable[Collector] = ()
) -> tuple[bytes, str]:
    """Everything there is to know about *system* now, as text, and the text's content type.

    Takes at most about half a second, whatever is away. Counting of events begins with the first call of
    `tallies_of`, which an `HttpEndpoint` makes when it starts.

    Args:
        system: A running tree.
        accept: The HTTP header; chooses between Prometheus' format and OpenMetrics.
        ready: What the metric `resprout_ready` says; None leaves it out.
        more: Collectors of the application, such as a `CollectorRegistry` with its own metrics.
    """
    found = await survey(system, tallies_of(system))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected(found, ready))
    for collector in more:
        registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class Collected(Collector):
    """One reading, as a prometheus-client collector."""

    def __init__(self, found: Survey, ready: bool | None = None) -> None:
        self._found, self._ready = found, ready

    def collect(self) -> Iterator[Metric]:
        """All families, those without a value too."""
        found, rows = self._found, defaultdict[str, dict[tuple[str, ...], float]](dict)
        for (family, labels), value in merged(found, self._ready).items():
            rows[family.name][labels] = value
        for family in FAMILIES:
            if family.kind is Kind.HISTOGRAM:
                yield _histogram(family, found)
            else:
                yield _plain(family, rows[family.name])


def merged(found: Survey, ready: bool | None) -> Mapping[Row, float]:
    """Zeros for what never happened, then what was counted, then what was read, which knows better."""
    values: dict[Row, float] = {}
    for family in FAMILIES:
        # A breaker that has nothing to tell is forgotten with its connection; its rows are not.
        lasting = family.counted or (family.about is About.BREAKER and family.kind is Kind.COUNTER)
        if lasting and family.kind is not Kind.HISTOGRAM:
            values.update(((family, row), 0.0) for row in family.rows(found.subjects[family.about]))
    values |= found.tallies.counts
    values |= found.values
    if ready is not None:
        values[READY, ()] = float(ready)
    return values


def _plain(family: Family, rows: Mapping[tuple[str, ...], float]) -> Metric:
    made = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = made(family.name, family.help, labels=family.labels)
    for labels, value in sorted(rows.items()):
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, found: Survey) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    rows = {row: Histogram(family.bounds) for row in family.rows(found.subjects[family.about])}
    rows |= {labels: one for (of, labels), one in found.tallies.histograms.items() if of is family}
    for labels, histogram in sorted(rows.items()):
        buckets = [
            ("+Inf" if bound == float("inf") else str(bound), count) for bound, count in histogram.buckets()
        ]
        metric.add_metric(labels, buckets, histogram.total)
    return metric
