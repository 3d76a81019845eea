"""How other libraries are run beside ours; what they cost is for `make bench ARGS=--peers`."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.peers import command, environments, measure
from benchmarks.peers.environments import NoPython, NotInstalled, prepare, version_of
from benchmarks.peers.measure import ADAPTERS, SIZES, Answer, Session, Skipped, ask, take_turns
from benchmarks.peers.table import LINES, markdown, rows
from benchmarks.peers.workloads import WORKLOADS

FOLDER = Path(command.__file__).parent
NAMES = {"trio": {"trio"}, "resprout": {"resprout"}, "everything-is-an-actor": {"actor_for_agents"}}


def replying(
    code: int = 0, out: str = "", err: str = ""
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    return lambda command, **options: subprocess.CompletedProcess(command, code, out, err)


@pytest.mark.parametrize("package", [name for name in ADAPTERS if name not in ("trio", "resprout")])
def test_an_adapter_imports_its_library_the_workloads_and_the_standard_library_only(package: str) -> None:
    tree = ast.parse((FOLDER / f"{ADAPTERS[package]}.py").read_text())
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    foreign = {name.split(".")[0] for name in imported} - sys.stdlib_module_names
    allowed = NAMES.get(package, {package}) | ({"trio"} if package == "triotp" else set())
    assert foreign <= allowed | {"benchmarks"}
    assert {name for name in imported if name.startswith("benchmarks")} == {"benchmarks.peers.workloads"}


def test_every_workload_has_a_size_and_every_adapter_exists() -> None:
    assert set(SIZES) == set(WORKLOADS)
    assert {f"{name}.py" for name in ADAPTERS.values()} == {path.name for path in FOLDER.glob("with_*.py")}


@pytest.mark.parametrize("package", ["trio", "resprout"])
def test_an_adapter_answers_with_one_json_object(package: str) -> None:
    answer = ask([sys.executable, "-m", f"benchmarks.peers.{ADAPTERS[package]}", "cast", "200", "1"])
    assert set(answer.figures) == {"cast"}
    assert answer.figures["cast"] > 0


@pytest.mark.parametrize("arguments", [[], ["cast"], ["nothing", "1", "1"], ["cast", "many", "1"]])
def test_an_adapter_says_what_it_wants(arguments: list[str]) -> None:
    with pytest.raises(Skipped, match=r"usage: call\|clients\|.* COUNT ACTORS; got "):
        ask([sys.executable, "-m", "benchmarks.peers.with_raw_trio", *arguments])


def test_an_adapter_without_its_library_is_skipped_with_the_reason() -> None:
    with pytest.raises(Skipped, match="No module named 'pykka'"):
        ask([sys.executable, "-m", "benchmarks.peers.with_pykka", "cast", "1", "1"])


def test_who_cannot_or_is_too_slow_says_why() -> None:
    with pytest.raises(Skipped, match=r"^it does not supervise$"):
        ask(["x"], replying(out='{"version": "1", "skipped": "it does not supervise"}'))
    with pytest.raises(Skipped, match=r"^failed: exit status 9$"):
        ask(["x"], replying(code=9))

    def hangs(command: list[str], timeout: float, **options: object) -> "subprocess.CompletedProcess[str]":
        raise subprocess.TimeoutExpired(command, timeout)

    with pytest.raises(Skipped, match=r"^no answer within 240 s$"):
        ask(["x"], hangs)


def test_each_round_gives_everybody_a_turn_until_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, costs = [], iter([3.0, 1.0, 2.0])

    def answer(command: list[str]) -> Answer:
        turns.append(command[0])
        if command[0] == "bad":
            raise Skipped("it cannot")
        return Answer("1.2", {"cast": next(costs)})

    monkeypatch.setattr(measure, "ask", answer)
    session = Session("python3")
    take_turns(session, "cast", 3, {"good": ["good"], "bad": ["bad"]})
    assert turns == ["good", "bad", "good", "good"]
    assert session.medians == {"good": {"cast": 2.0}}
    assert session.skipped == {"bad": {"cast": "it cannot"}}


def test_a_library_that_does_not_install_is_skipped_and_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(python: str, package: str) -> str:
        if package == "casty":
            raise NotInstalled("casty does not install on Python 3.11: too old")
        return python

    monkeypatch.setattr(measure, "prepare", prepare)
    monkeypatch.setattr(measure, "ask", lambda command: Answer("7.0", {"call": 2e-6}))
    monkeypatch.setattr(command, "RESULTS", tmp_path / "peers.json")
    assert main(["--peers", "call"]) == 0
    out = capsys.readouterr().out
    assert "- casty: casty does not install on Python 3.11: too old" in out
    assert "| W1 call, p50 | 1.00 | 1.00 |" in out
    found = json.loads((tmp_path / "peers.json").read_text())
    assert "casty" not in found["figures"]
    assert found["rows"][0]["values"]["pykka"] == 1.0


def test_an_environment_that_pip_refuses_names_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusal = "noise\nERROR: No matching distribution found for casty\n"
    monkeypatch.setattr(environments, "HOME", tmp_path)
    monkeypatch.setattr(environments, "version_of", lambda python: "3.9.1")
    monkeypatch.setattr(subprocess, "run", replying(code=1, err=refusal))
    with pytest.raises(NotInstalled, match=r"casty does not install on Python 3\.9\.1: No matching"):
        prepare("python3.9", "casty")
    assert not list(tmp_path.rglob(".installed"))


def test_our_own_python_needs_no_environment() -> None:
    assert prepare(sys.executable, "resprout") == prepare(sys.executable, "trio") == sys.executable


def test_wrong_arguments_name_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--peers", "nothing"]) == 2
    assert main(["--peers", "--python", "no-such-python", "call"]) == 2
    err = capsys.readouterr().err
    assert "unknown workloads: nothing; there are call, clients" in err
    assert "'no-such-python' does not run" in err
    with pytest.raises(NoPython):
        version_of("no-such-python")


def test_times_and_rates_are_ratios_to_raw_trio_each_on_its_side() -> None:
    raw = {"call": 10.0, "cast": 8.0, "memory": 4_000.0, "many": 2.0, "one": 2.0}
    peer = {"call": 5.0, "cast": 2.0, "memory": 6_000.0, "many": 3.0, "one": 2.0}
    session = Session("python3", {"trio": "1", "peer": "2"}, medians={"trio": raw, "peer": peer})
    found = {row["name"]: row["values"]["peer"] for row in rows(session)}
    assert list(found.values()) == [0.5, 4.0, 6.0, 1.5]
    assert [line.figure for line in LINES if line.title in found] == ["call", "cast", "memory", "many"]
    assert "| W2 cast | 1x | 4x |" in markdown(session)
    assert "| W5 idle actor | 4.0 kB | 6.0 kB |" in markdown(session)
