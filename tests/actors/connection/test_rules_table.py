"""The table of rules in docs/reference-connection.md tells the truth: no rule is missing, each test it names exists."""

import re
from pathlib import Path

from resprout.actors.connection import KeeperPolicy
from resprout.actors.connection.policy import CLEAN_PROBES_UNTIL_READY, MISSES_UNTIL_LOST, WANTED_SHARE
from resprout.runtime.backoff import Backoff
from resprout.runtime.breaker_policy import Consecutive

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference-connection.md").read_text()
ROWS = re.findall(r"^\| CN-(\d+) \|(.*)", PAGE, re.MULTILINE)

# What may count attempts to an end: messages to a client become dead letters, which can be redriven.
NO_CONNECTIONS = ("websocket", "console")


def test_every_rule_has_a_row_with_tests() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(11))
    assert all("`test_" in row for _, row in ROWS)


def test_every_test_that_the_table_names_exists() -> None:
    named = {name for _, row in ROWS for name in re.findall(r"`(test_\w+)`", row)}
    written = {
        name
        for file in (ROOT / "tests/actors").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert named - written == set()


def test_no_connection_has_a_limit_on_attempts() -> None:
    limit = re.compile(
        r"max_?(attempts|retries|tries|reconnects)|attempts?_(limit|left)|give_?up_after", re.IGNORECASE
    )
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in (ROOT / "actors").rglob("*.py")
        if file.relative_to(ROOT).parts[1] not in NO_CONNECTIONS
        for match in limit.finditer(file.read_text())
    ]
    assert found == []


def test_the_defaults_are_those_that_are_promised() -> None:
    policy, breaker = KeeperPolicy(), KeeperPolicy().breaker
    assert policy.backoff == Backoff(floor=0.05, base=0.25, cap=30.0, max_exponent=10)
    assert (policy.attempt_timeout, policy.stable_after, policy.nudge_every) == (10, 5, 1)
    assert (policy.probe_every, policy.probe_jitter, policy.probe_timeout) == (30, 0.1, 5)
    assert (MISSES_UNTIL_LOST, CLEAN_PROBES_UNTIL_READY, WANTED_SHARE) == (2, 2, 0.1)
    assert (policy.drain_timeout, policy.rotation_drain) == (10, 60)
    assert breaker.trips == (Consecutive(5),)
    assert (breaker.open_for, breaker.open_cap, breaker.reset_after) == (1, 30, 30)
