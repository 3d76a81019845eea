"""What events add to the counters."""

import string

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout import Actor, ActorExited, ActorRestarting, Crashed, Event, Killed, child, supervisor
from resprout.actors.connection import AttemptFailed, ConnectionChanged, FailureKind, Recovered
from resprout.actors.connection.states import BackingOff, Connecting, Ready
from resprout.actors.metrics import Increment, Tallies, increments
from resprout.actors.metrics import catalogue as metrics
from resprout.actors.metrics.family import Histogram
from resprout.actors.metrics.labels import MAX_SERVICES, OTHER, Labels
from resprout.runtime.breaker_events import BreakerChanged
from resprout.runtime.breaker_rules import Closed, HalfOpen, Open
from resprout.supervisors import LimitReached

TREE = supervisor("app", child("one", Actor), supervisor("inner", child("two", Actor)))
CONNECTING, READY = Connecting(since=0, until=10), Ready(since=1, next_probe=30)
DOWN = BackingOff(since=2, attempt=1, until=3)
OPEN = Open(generation=1, since=10.0, until=40.0, openings=1)


@pytest.mark.parametrize(
    ("event", "added"),
    [
        (
            ActorExited(actor="a", generation=1, reason=Crashed(ValueError()), message=None),
            [(metrics.ACTOR_EXITS, "a", "crashed")],
        ),
        (
            ActorExited(actor="a", generation=1, reason=Killed(), message=None),
            [(metrics.ACTOR_EXITS, "a", "killed")],
        ),
        (ActorRestarting(actor="a", restarts=1, delay=0), [(metrics.RESTARTS, "a")]),
        (LimitReached(actor="a", child="b", pause=1.0), [(metrics.LIMITS_REACHED, "a", "cool_down")]),
        (LimitReached(actor="a", child="b", pause=None), [(metrics.LIMITS_REACHED, "a", "give_up")]),
        (
            ConnectionChanged(actor="a", service="redis", old=CONNECTING, new=READY, why=""),
            [(metrics.CHANGES, "redis", "ready"), (metrics.ATTEMPTS, "redis")],
        ),
        (
            ConnectionChanged(actor="a", service="redis", old=CONNECTING, new=DOWN, why=""),
            [(metrics.CHANGES, "redis", "backing_off")],
        ),
        (
            AttemptFailed(
                actor="a",
                service="redis",
                attempt=1,
                error=OSError(),
                kind=FailureKind.NETWORK,
                retry_after=1,
            ),
            [(metrics.ATTEMPTS, "redis"), (metrics.FAILED_ATTEMPTS, "redis", "network")],
        ),
        (
            BreakerChanged(actor="a", service="auth", old=Closed(), new=OPEN, why=""),
            [(metrics.BREAKER_CHANGES, "auth", "open")],
        ),
    ],
)
def test_an_event_adds_one_to_each_of_its_counters(
    event: Event, added: list[tuple[metrics.Family, *tuple[str, ...]]]
) -> None:
    assert increments(event) == tuple(Increment(family, tuple(labels)) for family, *labels in added)


def test_the_end_of_an_opening_adds_how_long_it_was() -> None:
    half_open = HalfOpen(generation=2, since=40.0, openings=1)
    event = BreakerChanged(actor="a", service="auth", old=OPEN, new=half_open, why="")
    assert Increment(metrics.BREAKER_OPEN, ("auth",), 30.0) in increments(event)


def test_an_outage_is_observed_with_its_duration() -> None:
    tallies = Tallies(Labels(TREE))
    for seconds in (0.2, 7.0):
        tallies(Recovered(actor="app/one", service="redis", duration=seconds, attempt=1))
    histogram = tallies.histogram((metrics.OUTAGES, ("redis",)))
    assert histogram.total == 7.2
    assert dict(histogram.buckets())[0.25] == 1
    assert dict(histogram.buckets())[10.0] == 2


@attrs.frozen(kw_only=True)
class Surprising(Event):
    """An event whose rule has a bug."""


@increments.register
def _buggy(event: Surprising) -> tuple[Increment, ...]:
    raise KeyError("a bug")


def test_a_rule_with_a_bug_is_counted_and_ends_nothing() -> None:
    tallies = Tallies(Labels(TREE))
    tallies(Surprising(actor="app"))
    tallies(ActorRestarting(actor="app/one", restarts=1, delay=0))
    assert tallies.counts[metrics.COUNTING_FAILURES, ()] == 1
    assert tallies.counts[metrics.RESTARTS, ("app/one",)] == 1


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("app", "app"),
        ("app/one", "app/one"),
        ("app/inner/two", "app/inner/two"),
        ("app/inner/17", "app/inner/*"),
        ("app/one/sessions/17", "app/one/*"),
        ("elsewhere/17", OTHER),
        ("", OTHER),
    ],
)
def test_actors_started_while_the_tree_ran_share_the_label_of_their_ancestor(path: str, label: str) -> None:
    assert Labels(TREE).actor(path) == label


@given(st.lists(st.text(string.ascii_lowercase + "/", max_size=12), max_size=200))
def test_there_are_never_more_labels_than_twice_the_places_described(paths: list[str]) -> None:
    labels = Labels(TREE)
    found = {labels.actor(path) for path in paths} | {labels.actor(f"app/{path}") for path in paths}
    assert found <= {OTHER} | {shown for path in labels.static for shown in (path, f"{path}/*")}


def test_services_without_end_end_as_other() -> None:
    labels = Labels(TREE)
    found = {labels.service(f"tenant-{number}", "app/one") for number in range(10_000)}
    assert len(found) == MAX_SERVICES + 1
    assert labels.service("tenant-0", "app/one") == "tenant-0"


def test_services_of_actors_started_while_the_tree_ran_are_other() -> None:
    assert Labels(TREE).service("redis", "app/inner/17") == OTHER


@given(st.lists(st.floats(0, 5000)))
def test_the_buckets_of_a_histogram_never_fall_and_end_with_all(values: list[float]) -> None:
    histogram = Histogram(metrics.OUTAGE_SECONDS)
    for value in values:
        histogram.observe(value)
    counts = [count for _, count in histogram.buckets()]
    assert counts == sorted(counts)
    assert counts == [sum(value <= bound for value in values) for bound, _ in histogram.buckets()]
