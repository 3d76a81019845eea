"""The `resprout` command as a user starts it: in a directory with a module of their own."""

import signal
import subprocess
import sys
from pathlib import Path

RESPROUT = Path(sys.executable).with_name("resprout")


def resprout(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RESPROUT, *arguments], cwd=directory, capture_output=True, text=True, timeout=30, check=False
    )


def write_module(directory: Path, source: str) -> None:
    (directory / "shop.py").write_text(f"from functools import partial\nfrom resprout import *\n{source}")


class Running:
    """`resprout run shop:app`, whose actors say on standard output what they do."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [RESPROUT, "run", "shop:app"],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def hears(self, word: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"{word!r} was never said:\n{self._process.communicate()[1]}")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        output, errors = self._process.communicate(timeout=20)
        return self._process.returncode, output, errors
