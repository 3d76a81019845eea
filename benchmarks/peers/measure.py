"""Run the workloads of all libraries in turns, each in a process of its own.

A library that cannot do a workload, does not install, fails, or takes too long is left out from then on, and the
reason is kept.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from benchmarks.peers.environments import ROOT, NotInstalled, prepare

ADAPTERS = {  # By the name of the package.
    "trio": "with_raw_trio",
    "resprout": "with_resprout",
    "triotp": "with_triotp",
    "otpylib": "with_otpylib",
    "pykka": "with_pykka",
    "casty": "with_casty",
    "everything-is-an-actor": "with_everything_is_an_actor",
    "papyra": "with_papyra",
}
ROUNDS = 5
SLOW_SECONDS = 15.0  # Who takes longer has one round: the median of one.
GIVE_UP_SECONDS = 240.0


@attrs.frozen
class Size:
    """How much work: operations, and actors where a workload has many."""

    count: int
    actors: int = 1
    rounds: int = ROUNDS


SIZES: dict[str, Size] = {
    "call": Size(4_000),
    "clients": Size(4_000),
    "cast": Size(40_000),
    "fan_in": Size(40_000),
    "ring": Size(100_000, 1_000, rounds=3),
    "spawn": Size(1, 10_000, rounds=3),
    "memory": Size(1, 10_000, rounds=3),
    "crash": Size(1_000),
    "scaling": Size(2_000, 10_000, rounds=3),
}


@attrs.frozen
class Answer:
    """What one run of an adapter found."""

    version: str
    figures: Mapping[str, float]


Found: TypeAlias = dict[str, dict[str, float]]
"""The median of each figure, by package."""


@attrs.define
class Session:
    """What has been found so far, on one Python."""

    python: str
    versions: dict[str, str] = attrs.field(factory=dict)
    skipped: dict[str, dict[str, str]] = attrs.field(factory=dict)
    """The reason by package, by workload; the workload is `all` where the library does not install."""
    medians: Found = attrs.field(factory=dict)

    def skip(self, package: str, workload: str, reason: str) -> None:
        """Leave a package out, and say so."""
        sys.stderr.write(f"  {package}: {reason}\n")
        self.skipped.setdefault(package, {})[workload] = reason


class Skipped(Exception):
    """This library gives no figure for this workload; the text says why."""


def measure(python: str, workloads: list[str]) -> Session:
    """Install what is missing, then measure."""
    session, commands = Session(python), dict[str, list[str]]()
    for package, adapter in ADAPTERS.items():
        try:
            commands[package] = [prepare(python, package), "-m", f"benchmarks.peers.{adapter}"]
        except NotInstalled as error:
            session.skip(package, "all", str(error))
    for workload in workloads:
        sys.stderr.write(f"measuring {workload} …\n")
        size = SIZES[workload]
        arguments = [workload, str(size.count), str(size.actors)]
        take_turns(session, workload, size.rounds, {p: [*c, *arguments] for p, c in commands.items()})
    return session


def take_turns(session: Session, workload: str, rounds: int, commands: Mapping[str, list[str]]) -> None:
    """Each round runs every command once, in an order that turns; the medians go to *session*."""
    answers: dict[str, list[Answer]] = {package: [] for package in commands}
    names, slow = list(commands), set[str]()
    for number in range(rounds):
        turn = number % len(names)
        for package in names[turn:] + names[:turn]:
            if package in slow or workload in session.skipped.get(package, {}):
                continue
            began = time.monotonic()
            try:
                answers[package].append(ask(commands[package]))
            except Skipped as reason:
                session.skip(package, workload, str(reason))
                answers[package].clear()
            if time.monotonic() - began > SLOW_SECONDS:
                slow.add(package)
    for package, found in answers.items():
        if found:
            session.versions[package] = found[0].version
            session.medians.setdefault(package, {}).update(_medians([answer.figures for answer in found]))


def _medians(found: list[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(figures[name] for figures in found) for name in found[0]}


def ask(
    command: list[str], run: Callable[..., "subprocess.CompletedProcess[str]"] = subprocess.run
) -> Answer:
    """Run an adapter once.

    Raises:
        Skipped: It says that it cannot, failed, or took too long.
    """
    try:
        done = run(command, cwd=ROOT, capture_output=True, text=True, timeout=GIVE_UP_SECONDS)
    except subprocess.TimeoutExpired:
        raise Skipped(f"no answer within {GIVE_UP_SECONDS:g} s") from None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise Skipped(f"failed: {last or f'exit status {done.returncode}'}")
    answer = json.loads(done.stdout)
    if "skipped" in answer:
        raise Skipped(answer["skipped"])
    return Answer(answer["version"], answer["figures"])
