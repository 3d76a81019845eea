"""A virtual environment for each library, on the Python that is asked for. They are kept below `.venv/peers`."""

import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv" / "peers"
INSTALL_SECONDS = 600.0


class NotInstalled(Exception):
    """The library does not install there; the text says why."""


class NoPython(Exception):
    """There is no such interpreter, or it does not run."""

    def __init__(self, python: str) -> None:
        super().__init__(f"{python!r} does not run; give --python the name or the path of an interpreter")


def version_of(python: str) -> str:
    """The version of an interpreter, by name or path.

    Raises:
        NoPython: It does not run.
    """
    command = [python, "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPython(python) from error
    return done.stdout.strip()


def prepare(python: str, package: str) -> str:
    """The interpreter of an environment with *package* in it, made if need be.

    resprout and trio come from this source tree: in the running environment if it is the same Python.

    Raises:
        NotInstalled: pip could not install it there.
    """
    ours = package in ("resprout", "trio")
    version = version_of(python)
    if ours and version == platform.python_version():
        return sys.executable
    home = HOME / version / ("resprout" if ours else package)
    found, made = str(home / "bin" / "python"), home / ".installed"
    if not made.exists():
        _run([python, "-m", "venv", "--clear", str(home)], package, version)
        what = ["--editable", str(ROOT)] if ours else [package]
        _run([found, "-m", "pip", "install", "--disable-pip-version-check", *what], package, version)
        made.write_text(f"{time.time()}\n")
    return found


def _run(command: list[str], package: str, version: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"pip took more than {INSTALL_SECONDS:g} s for {package}") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else done.stderr.strip()[-200:]
        raise NotInstalled(f"{package} does not install on Python {version}: {reason}")
