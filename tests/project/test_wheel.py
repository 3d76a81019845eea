"""What users install: built from a copy of the sources, listed, and run in an empty environment."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import resprout
from tests.project.import_reader import LAYERS, ROOT

SCRATCH = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "results.json")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it."""
    copy, dist = tmp_path_factory.mktemp("copy") / "resprout", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=SCRATCH)
    must_pass(sys.executable, "-m", "build", "--outdir", str(dist), str(copy))
    return dist


@pytest.fixture(scope="module")
def empty(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with nothing but the wheel and what it requires; returns its Python."""
    folder = tmp_path_factory.mktemp("empty")
    must_pass(sys.executable, "-m", "venv", str(folder))
    python = folder / "bin/python"
    must_pass(str(python), "-m", "pip", "install", "--quiet", str(one(built, "*.whl")))
    return python


def test_the_wheel_holds_exactly_the_modules_of_the_sources(built: Path) -> None:
    with zipfile.ZipFile(one(built, "*.whl")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name for name in names if name.endswith(".py")} == expected_modules()
    assert "resprout/py.typed" in names
    assert not any("test_" in name or name.startswith(("tests/", *LAYERS)) for name in names)


def test_the_sdist_holds_real_files_where_the_checkout_has_links(built: Path) -> None:
    with tarfile.open(one(built, "*.tar.gz")) as sdist:
        members = {
            member.name.partition("/src/")[2]: member for member in sdist if "/src/resprout" in member.name
        }
    assert not [name for name, member in members.items() if member.issym() or member.islnk()]
    assert expected_modules() <= members.keys()


def test_the_editable_install_leads_to_the_folders_of_the_root() -> None:
    package = Path(resprout.__path__[0])
    assert [(package / layer).resolve() for layer in LAYERS] == [ROOT / layer for layer in LAYERS]


def test_the_quickstart_runs_from_the_wheel_in_an_empty_environment(empty: Path, tmp_path: Path) -> None:
    script = shutil.copy(ROOT / "examples/quickstart.py", tmp_path)
    ran = must_pass(str(empty), "-I", str(script), cwd=tmp_path)
    assert "3" in ran


def test_the_installed_command_explains_itself_and_a_missing_extra(empty: Path, tmp_path: Path) -> None:
    assert "check" in must_pass(str(empty.with_name("resprout")), "--help", cwd=tmp_path)
    code = "import resprout.actors.redis"
    ran = subprocess.run([empty, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 or "pip install 'resprout[redis]'" in ran.stderr, ran.stderr


def expected_modules() -> set[str]:
    facade = [path.relative_to(ROOT / "src") for path in (ROOT / "src/resprout").rglob("*.py")]
    layers = [
        "resprout" / path.relative_to(ROOT) for layer in LAYERS for path in (ROOT / layer).rglob("*.py")
    ]
    return {path.as_posix() for path in [*facade, *layers]}


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def must_pass(*command: str, cwd: Path | None = None) -> str:
    # Without PYTHONPATH and the like, so that nothing of this checkout is found by accident.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, f"{command} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout
