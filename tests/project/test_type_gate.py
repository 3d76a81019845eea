"""The gate of `tests/typing` closes: a wrong line that nobody expects fails the checkers, and so does an expected
complaint that is not made. Shown on copies of `test_mistakes.py`, in a project that has our settings."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.import_reader import ROOT

MISTAKES = (ROOT / "tests/typing/test_mistakes.py").read_text()
WRONG = "    ref.cast(Counter.rename, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]\n"
UNEXPECTED = "    ref.cast(Counter.rename, 2)\n"
NOT_MADE = WRONG.replace("2", '"a name"', 1)
OTHER_CODE = "    ref.cast(Counter.rename, 2)  # type: ignore[misc]  # pyright: ignore[reportCallIssue]\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our settings and sources around a `tests/typing` of its own."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "src"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "tests/typing").mkdir(parents=True)
    right = "test_engine_types.py"
    (folder / "tests/typing" / right).symlink_to(ROOT / "tests/typing" / right)
    return folder


@pytest.mark.parametrize(
    "line", [UNEXPECTED, NOT_MADE, OTHER_CODE], ids=["unexpected", "not made", "other code"]
)
def test_the_checkers_refuse_a_mistake_nobody_expects_and_an_expectation_nobody_meets(
    line: str, project: Path
) -> None:
    copy = project / "tests/typing/test_copy.py"
    copy.write_text(MISTAKES.replace(WRONG, line, 1))
    number = 1 + MISTAKES[: MISTAKES.index(WRONG)].count("\n")
    assert set(complaints("mypy", copy, ROOT)) == {number}
    assert set(complaints("pyright", copy, project)) == {number}


def test_every_mistake_names_the_complaint_of_either_checker() -> None:
    wrong = [line for line in MISTAKES.splitlines() if "ignore[" in line]
    both = re.compile(r"  # type: ignore\[[a-z, -]+\]  # pyright: ignore\[\w+(, \w+)*\]$")
    assert len(wrong) > 100
    assert [line for line in wrong if not both.search(line)] == []


def complaints(checker: str, file: Path, folder: Path) -> Iterator[int]:
    """The lines of *file* that *checker*, run in *folder*, has errors on."""
    # Modules, because a virtual environment need not be on the PATH.
    ran = subprocess.run(
        [sys.executable, "-m", checker, file],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    for found in re.finditer(rf"{file.name}:(\d+):.*\berror\b", ran.stdout):
        yield int(found[1])
