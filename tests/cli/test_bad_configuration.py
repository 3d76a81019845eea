"""Bad trees and bad usage: one line that names the place and the fix, before anything starts."""

from pathlib import Path

import pytest

from tests.cli.command import resprout, write_module

LOUD = """
class Loud(Actor):
    async def on_start(self):
        print("started")
LOUD = Name(Loud, "loud")
"""

BAD_TREES = {
    "two children of one id": (
        'supervisor("app", child("a", Loud), child("a", Loud))',
        "app/a: two children have the id 'a'; rename one of them",
    ),
    "a negative intensity": (
        'supervisor("app", intensity=-1)',
        "app: intensity must be a whole number >= 0, not -1",
    ),
    "an unknown strategy": (
        'supervisor("app", strategy="all")',
        "app: unknown strategy 'all'; use ONE_FOR_ONE",
    ),
    "an unknown restart": (
        'supervisor("app", child("a", Loud, restart="often"))',
        "app/a: unknown restart 'often'",
    ),
    "a factory that is not callable": (
        'supervisor("app", child("a", 42))',
        "app/a: start must make an actor, and 42 is not callable",
    ),
    "an actor instead of a factory": (
        'supervisor("app", child("a", Loud()))',
        "each restart needs a fresh one: pass Loud",
    ),
    "an argument too many": (
        'supervisor("app", child("a", partial(Loud, 1, 2)))',
        "app/a: Loud cannot be made: too many positional arguments; use functools.partial(Loud, …)",
    ),
    "a class that is no actor": (
        'supervisor("app", child("a", dict))',
        "app/a: start must make an actor, and dict is no Actor class",
    ),
    "a name already taken": (
        'supervisor("app", child("a", Loud, name=LOUD), supervisor("s", child("b", Loud, name=LOUD)))',
        "app/s/b: the name 'loud' is taken by app/a",
    ),
    "a child that is no spec": ('supervisor("app", Loud)', "is no child spec; wrap it in child(…)"),
}


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(("tree", "message"), BAD_TREES.values(), ids=BAD_TREES)
def test_a_bad_tree_is_refused_with_one_line(tmp_path: Path, command: str, tree: str, message: str) -> None:
    write_module(tmp_path, f"{LOUD}\napp = {tree}\n")
    refused = resprout(tmp_path, command, "shop:app")
    assert (refused.returncode, refused.stdout) == (78, "")
    assert message in refused.stderr
    assert refused.stderr.startswith("resprout: bad configuration: ")
    assert refused.stderr.count("\n") == 1


BAD_MODULES = {
    "another module is missing": ("import nowhere_to_be_found", "shop does not import: No module named"),
    "a name is missing": ("app = tree", "NameError: name 'tree' is not defined (shop.py, line 3)"),
    "a syntax error": ("app = (", "shop does not import: SyntaxError"),
    "no such name": ("main = supervisor('main')", "module shop has no 'app'; trees in it: shop:main"),
    "no tree": ("app = Actor", "shop:app is no tree but a type; make one with supervisor(…) or child(…)"),
}


@pytest.mark.parametrize(("source", "message"), BAD_MODULES.values(), ids=BAD_MODULES)
def test_a_bad_module_is_refused_with_one_line(tmp_path: Path, source: str, message: str) -> None:
    write_module(tmp_path, source)
    refused = resprout(tmp_path, "run", "shop:app")
    assert refused.returncode == 78
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_module_that_is_not_there_is_refused_with_one_line(tmp_path: Path) -> None:
    refused = resprout(tmp_path, "check", "shop.front:app")
    assert refused.returncode == 78
    assert "there is no module 'shop' here; check the name and the directory" in refused.stderr


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "shop"], ["run", "shop:"], ["plant"], ["check", ":app"]]
)
def test_wrong_usage_ends_with_2_and_says_how(tmp_path: Path, arguments: list[str]) -> None:
    refused = resprout(tmp_path, *arguments)
    assert refused.returncode == 2
    assert "Usage: resprout" in refused.stderr
