"""`resprout run`: exit codes, and what a signal does."""

import signal
from pathlib import Path

import pytest

from tests.cli.command import Running, resprout, write_module

TALKER = """
import trio

class Talker(Actor):
    async def on_start(self):
        print("ready", flush=True)
    async def on_stop(self, reason):
        print("stopping", flush=True)
        await trio.sleep(PAUSE)
        print("stopped", flush=True)

app = supervisor("app", child("talker", Talker, shutdown=30))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_the_tree_and_the_code_is_0(tmp_path: Path, number: signal.Signals) -> None:
    write_module(tmp_path, f"PAUSE = 0\n{TALKER}")
    with Running(tmp_path) as running:
        running.hears("ready")
        running.send(number)
        code, output, errors = running.end()
    assert (code, output.split()) == (0, ["stopping", "stopped"])
    assert "Traceback" not in errors


def test_a_second_signal_cancels_at_once_and_the_code_is_130(tmp_path: Path) -> None:
    write_module(tmp_path, f"PAUSE = 60\n{TALKER}")
    with Running(tmp_path) as running:
        running.hears("ready")
        running.send(signal.SIGINT)
        running.hears("stopping")
        running.send(signal.SIGINT)
        code, output, _ = running.end()
    assert (code, output) == (130, "")


def test_a_tree_that_gives_up_ends_with_1(tmp_path: Path) -> None:
    write_module(
        tmp_path,
        """
class Fragile(Actor):
    async def on_start(self):
        self.context.after(0.01, Fragile.fall)
    async def fall(self):
        raise RuntimeError("broken")

app = supervisor("app", child("fragile", Fragile), intensity=2)
""",
    )
    ended = resprout(tmp_path, "run", "shop:app")
    assert ended.returncode == 1
    assert ended.stderr.count("RuntimeError: broken") >= 3
    assert "LimitReached" in ended.stderr


def test_a_tree_that_does_not_start_ends_with_1_and_one_line(tmp_path: Path) -> None:
    write_module(
        tmp_path,
        """
class Refuses(Actor):
    async def on_start(self):
        raise LookupError("no licence key")

app = supervisor("app", child("refuses", Refuses))
""",
    )
    ended = resprout(tmp_path, "run", "shop:app")
    assert ended.returncode == 1
    assert "app/refuses did not start" in ended.stderr
    assert "no licence key" in ended.stderr


def test_a_tree_whose_work_is_done_ends_with_0(tmp_path: Path) -> None:
    write_module(
        tmp_path,
        """
class Job(Actor):
    async def on_start(self):
        self.context.stop()

app = supervisor(
    "app",
    child("job", Job, restart=TRANSIENT, significant=True),
    auto_shutdown=AutoShutdown.ALL_SIGNIFICANT,
)
""",
    )
    assert resprout(tmp_path, "run", "shop:app").returncode == 0


def test_an_actor_may_ask_for_an_exit_code(tmp_path: Path) -> None:
    write_module(
        tmp_path,
        """
class Quits(Actor):
    async def on_start(self):
        self.context.after(0.01, Quits.quit)
    async def quit(self):
        raise SystemExit(7)

app = supervisor("app", child("quits", Quits))
""",
    )
    assert resprout(tmp_path, "run", "shop:app").returncode == 7
