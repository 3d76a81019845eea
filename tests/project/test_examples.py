"""Every small example runs as a user would start it, and says what it is there to show."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.import_reader import ROOT

SHOWS = {
    "backpressure": "latest saw [7, 8, 9]",
    "counter": "the next one counts from zero: 42",
    "crash_loop": "sold: a book",
    "deadlines": "only the third call ran, as page 2",
    "errors": "a fresh account: 100",
    "job": "3\n2\n1\n",
    "keep_state": "after the restart, 4 and 3 make 7",
    "login": "after the kill: 503 for a moment, 200 ann\nlogged out: 401\nrestarted: ['app/server']\n",
    "monitors": "app/patient is down: fever",
    "own_connection": "rejected: 550 no such mailbox\nsent again: 250 fine\n",
    "pool": "ann: 2 in all, bob: 1",
    "quickstart": "3\n",
    "postgres_live": "seats left: 10\n",
    "redis_live": "news may be missing\nnews: the end\n",
    "testing_a_tree": "both tests passed",
    "signed_tokens": "the issuer is down: cyd\n",
    "tasks": "app/jobs/resize-2 failed: ValueError: no image",
    "statemachine": "the door is Unlocked()\nann is inside\n",
    "sessions": "goodbye, ann\nwelcome at app/sessions/cyd\n",
}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert SHOWS.get(example.stem, "") in ran.stdout


def test_no_example_of_the_list_was_lost() -> None:
    assert {path.stem for path in EXAMPLES} >= SHOWS.keys()
