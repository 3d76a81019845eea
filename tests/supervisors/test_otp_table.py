"""docs/otp.md tells the truth: every statement has a row, every test it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/otp.md").read_text()
STATEMENTS = range(1, 75)


def test_every_statement_has_a_row() -> None:
    numbers = [
        int(number)
        for row in re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE)
        for number in row.split(",")
    ]
    assert numbers == list(STATEMENTS)


def test_every_test_that_the_table_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    written = {
        name
        for folder in ("supervisors", "runtime", "testing")
        for file in (ROOT / "tests" / folder).glob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert named - written == set()


def test_every_row_names_a_test_or_says_that_there_is_none() -> None:
    rows = [row for row in PAGE.splitlines() if re.match(r"\| \d", row)]
    assert [row for row in rows if "`test_" not in row and "| \N{EN DASH} | n" not in row] == []
