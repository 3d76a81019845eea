"""The table of rules in docs/reference-connection.md tells the truth: no rule is missing, each test it names exists."""

import re
from pathlib import Path

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
