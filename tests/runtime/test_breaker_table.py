"""The table at the end of docs/reference-breaker.md tells the truth: a row per statement, and tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference-breaker.md").read_text()
ROWS = re.findall(r"^\| S(\d+) \| (.+?) \| (.+?) \|(.*)\|$", PAGE, re.MULTILINE)


def test_every_statement_has_a_row() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 18))


def test_every_row_names_tests_or_says_why_there_is_none() -> None:
    assert [
        row for row in ROWS if "`test_" not in row[2] and not (row[2] == "\N{EN DASH}" and row[3].strip())
    ] == []


def test_every_test_that_the_table_names_exists() -> None:
    named = {name for _, _, tests, _ in ROWS for name in re.findall(r"`(test_\w+)`", tests)}
    written = {
        name
        for file in (ROOT / "tests/runtime").glob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert named - written == set()
    assert len(named) > 30
