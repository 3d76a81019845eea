"""`resprout tree`, `info` and `restart`: one terminal runs a tree, another looks into it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Running, resprout, write_module

SHOP = """
from resprout.actors.console import ConsoleServer

class Till(Actor):
    async def on_start(self):
        print("till open", flush=True)

class Guard(Actor):
    async def on_start(self):
        self.context.start_soon(self._say_when_listening)
    async def _say_when_listening(self):
        import trio
        while CONSOLE.offered(object) is None:
            await trio.sleep(0.01)
        print("listening", flush=True)

CONSOLE = Name(ConsoleServer, "console")
app = supervisor(
    "shop",
    child("console", ConsoleServer, name=CONSOLE),
    child("till", Till),
    child("guard", Guard),
)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A running shop whose console only this test can find."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    write_module(tmp_path, SHOP)
    with Running(tmp_path) as running:
        running.hears("listening")
        yield running


@pytest.mark.usefixtures("shop")
def test_the_tree_is_shown_from_another_terminal(tmp_path: Path) -> None:
    shown = resprout(tmp_path, "tree")
    assert shown.returncode == 0, shown.stderr
    assert [line.strip("├─└ ").split()[0] for line in shown.stdout.splitlines()] == [
        "shop",
        "console",
        "till",
        "guard",
    ]
    assert "till  Till  running" in shown.stdout


@pytest.mark.usefixtures("shop")
def test_the_tree_as_json_has_every_place_with_its_path(tmp_path: Path) -> None:
    tree = json.loads(resprout(tmp_path, "tree", "--app", "shop", "--json").stdout)
    assert [place["path"] for place in tree["children"]] == ["shop/console", "shop/till", "shop/guard"]
    assert tree["life"] == "running"


@pytest.mark.usefixtures("shop")
def test_info_says_what_is_known_of_one_actor(tmp_path: Path) -> None:
    assert "Till" in resprout(tmp_path, "info", "shop/till").stdout
    assert json.loads(resprout(tmp_path, "info", "shop/till", "--json").stdout)["place"]["generation"] == 1


def test_restart_starts_a_fresh_actor(tmp_path: Path, shop: Running) -> None:
    done = resprout(tmp_path, "restart", "shop/till")
    assert (done.returncode, done.stdout) == (0, "shop/till was restarted: incarnation 1 → 2\n")
    shop.hears("till open")


@pytest.mark.usefixtures("shop")
def test_a_path_that_is_not_there_is_one_line_and_1(tmp_path: Path) -> None:
    failed = resprout(tmp_path, "restart", "shop/cellar")
    assert failed.returncode == 1
    assert "there is no 'shop/cellar'" in failed.stderr
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["tree"], ["info", "shop/till"], ["restart", "shop/till"]])
def test_without_a_running_tree_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    failed = resprout(tmp_path, *arguments)
    assert failed.returncode == 1
    assert "start one with: resprout run" in failed.stderr
    assert failed.stderr.count("\n") == 1
