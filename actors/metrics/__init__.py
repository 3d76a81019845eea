"""Metrics of a running tree for Prometheus: events are counted, the rest is read at each scrape."""

try:
    import prometheus_client as _prometheus_client  # noqa: F401 - only to name the extra if it is missing.
except ModuleNotFoundError as _error:
    raise ImportError(
        "resprout.actors.metrics needs prometheus-client: pip install 'resprout[web]'"
    ) from _error

from resprout.actors.metrics.catalogue import FAMILIES
from resprout.actors.metrics.exposition import scrape
from resprout.actors.metrics.family import About, Family, Kind
from resprout.actors.metrics.increments import Increment, increments
from resprout.actors.metrics.tallies import Tallies, tallies_of

__all__ = [
    "FAMILIES",
    "About",
    "Family",
    "Increment",
    "Kind",
    "Tallies",
    "increments",
    "scrape",
    "tallies_of",
]
