"""The list of metrics: Prometheus' rules for names, and that it is complete."""

import importlib
import pkgutil
import re
from pathlib import Path
from typing import get_args

import pytest

import resprout.actors
from resprout import Event
from resprout.actors.connection import ConnectionState, FailureKind
from resprout.actors.metrics import FAMILIES, Family, Kind, catalogue, increments
from resprout.actors.metrics.rules import mcp as _mcp  # noqa: F401 - registers its rules.
from resprout.actors.metrics.rules import postgres as _postgres  # noqa: F401 - the same.
from resprout.actors.metrics.rules import websocket as _websocket  # noqa: F401 - the same.
from resprout.actors.postgres.pool_rules import SlotState
from resprout.runtime.breaker_rules import Closed as BreakerClosed
from resprout.runtime.breaker_rules import Force, HalfOpen, Open, Outcome

# Events that are read in another way, or that say nothing anybody would count.
NOT_COUNTED = {
    "ActorStarted": "exits and restarts say the same",
    "StuckActorEnded": "resprout_actor_stuck_total has counted it",
    "LoopResumed": "resprout_loop_blocked_total has counted it",
    "SlowStop": "the process ends, and nobody scrapes it any more",
    "MessageLost": "the runtime counts dead letters itself",
    "RetryBudgetExhausted": "read as resprout_retry_budget_exhausted_total",
    "MonitorPaused": "read as resprout_monitor_paused_seconds",
    "MonitorResumed": "read as resprout_monitor_paused_seconds",
    "TransactionRepeated": "serialization at work; the last failure goes to the caller",
    "ProcessStopped": "on request",
    "ServerListening": "once per start",
    "HttpListening": "once per start",
    "ConsoleOpened": "once per start",
    "ConsoleUnavailable": "the tree shows it",
    "ServerWrote": "a line of somebody's log",
    "ConnectionEvent": "a base class",
    "ProcessEvent": "a base class",
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_follow_the_rules_of_prometheus(family: Family) -> None:
    assert re.fullmatch(r"resprout_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") is (family.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|percent|count|sum|bucket)(_|$)", family.name)
    assert family.help.endswith(".")
    assert not {"id", "le", "quantile", "path", "user", "stream", "reason_text"} & set(family.labels)


def test_no_name_is_used_twice() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))


def test_labels_with_fixed_values_have_all_there_are() -> None:
    assert set(catalogue.CONNECTION_STATES) == {state.name for state in get_args(ConnectionState)}
    assert set(catalogue.FAILURES) == {kind.value for kind in FailureKind}
    assert set(catalogue.OUTCOMES) == {outcome.value for outcome in Outcome}
    assert set(catalogue.SLOTS) == {state.value for state in SlotState}
    plain = {state.name for state in (BreakerClosed, Open, HalfOpen)}
    assert set(catalogue.BREAKER_STATES) == plain | {force.value for force in Force}


def test_every_event_is_counted_or_there_is_a_reason_why_not() -> None:
    for package in pkgutil.iter_modules(resprout.actors.__path__, "resprout.actors."):
        importlib.import_module(package.name)
    ours = [event for event in below(Event) if event.__module__.startswith("resprout.")]
    assert len(ours) > 30
    counted = {
        event.__name__ for event in ours if increments.dispatch(event) is not increments.dispatch(Event)
    }
    assert {event.__name__ for event in ours} - counted == set(NOT_COUNTED)


def below(cls: type[Event]) -> list[type[Event]]:
    return [found for sub in cls.__subclasses__() for found in (sub, *below(sub))]


def test_the_reference_lists_every_metric_with_its_labels() -> None:
    text = (Path(__file__).parents[3] / "docs/reference-metrics.md").read_text()
    rows = {
        match[1]: set(re.findall(r"`(\w+)`", match[2]))
        for match in re.finditer(r"^\| `(resprout_\w+)` \| [^|]+ \|([^|]*)\|", text, re.MULTILINE)
    }
    assert rows == {family.name: set(family.labels) for family in FAMILIES}


def test_alert_rules_ask_for_metrics_and_label_values_that_exist() -> None:
    text = (Path(__file__).parents[3] / "docs/reference-metrics.md").read_text()
    by_name = {family.name: family for family in FAMILIES}
    rules = re.findall(r"expr: (.+)", text)
    assert len(rules) > 10
    for rule in rules:
        found = re.findall(r'(resprout_\w+)(?:\{(\w+)=~?"([^"]+)"\})?', rule)
        assert found
        for name, label, values in found:
            assert set(values.split("|")) <= set(by_name[name].values.get(label, ("",)))
