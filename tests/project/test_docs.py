"""What the documentation shows is true: its Python runs, its links lead somewhere, it names every name.

The Python blocks of one page run as one program, in their order. A block after the line `<!-- not run: why -->`
is only read, and its imports are tried.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import resprout
from tests.project.import_reader import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?P<mark><!-- not run: .+ -->\n+)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    run = [found["code"] for found in BLOCK.finditer(page.read_text()) if not found["mark"]]
    program = tmp_path / f"{page.stem.replace('-', '_')}.py"
    program.write_text("\n".join(run))
    finish(program)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_that_is_not_run_imports_only_what_exists(page: Path, tmp_path: Path) -> None:
    read = [ast.parse(found["code"]) for found in BLOCK.finditer(page.read_text()) if found["mark"]]
    imports = [node for tree in read for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    program = tmp_path / "imports.py"
    program.write_text("\n".join(map(ast.unparse, imports)))
    finish(program)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = LINK.findall(FENCED.sub("", page.read_text()))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_quickstart_of_the_readme_is_shorter_than_20_lines() -> None:
    first = BLOCK.search((ROOT / "README.md").read_text())
    assert first is not None
    assert 0 < len(first["code"].splitlines()) < 20


def test_the_reference_explains_every_public_name() -> None:
    reference = (ROOT / "docs/reference.md").read_text()
    assert [name for name in resprout.__all__ if not re.search(rf"`{name}\b", reference)] == []


def finish(program: Path) -> None:
    ran = subprocess.run(
        [sys.executable, program], cwd=program.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
