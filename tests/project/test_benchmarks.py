"""The benchmarks keep running; what they measure is for `make bench`, not for a busy test machine."""

import gc
import json
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
import trio

import benchmarks.__main__
from benchmarks import actors, breaker, many, memory, raw_trio, recovery
from benchmarks.__main__ import machine, main, table
from benchmarks.bare_loop import bare_loop
from benchmarks.compare import at_least, at_most, medians, report
from resprout.runtime.incarnation import Incarnation

PAIRS = [
    raw_trio.call,
    raw_trio.cast,
    raw_trio.batched_cast,
    raw_trio.fan_in,
    raw_trio.restart,
    actors.call,
    actors.call_from_many,
    actors.cast,
    actors.fan_in,
    actors.restart,
    actors.raw_call_processor_time,
]
SPAWNING = [raw_trio.spawn, raw_trio.spawn_in_order, actors.spawn, actors.spawn_in_order]


@pytest.mark.parametrize("work", PAIRS, ids=lambda work: f"{work.__module__}.{work.__name__}")
def test_the_work_is_done_and_costs_something(
    work: Callable[[int], Coroutine[object, object, float]],
) -> None:
    assert trio.run(work, 2_000) > 0


@pytest.mark.parametrize(("ring", "bursts"), [(m.ring, m.bursts) for m in (raw_trio, actors)])
def test_a_token_goes_round_and_bursts_reach_every_actor(
    ring: Callable[[int, int], Coroutine[object, object, float]],
    bursts: Callable[[int, int], Coroutine[object, object, float]],
) -> None:
    assert trio.run(ring, 100, 10) > 0
    assert trio.run(bursts, 20, 10) > 0


@pytest.mark.parametrize("work", SPAWNING, ids=lambda work: f"{work.__module__}.{work.__name__}")
def test_stopping_takes_time_on_top_of_starting(
    work: Callable[[int], Coroutine[object, object, raw_trio.Spawned]],
) -> None:
    spawned = trio.run(work, 50)
    assert 0 < spawned.start < spawned.both
    assert 0 < spawned.start_cpu < spawned.both_cpu


@pytest.mark.parametrize("kind", ["ours", "raw"])
def test_an_idle_actor_weighs_kilobytes(kind: memory.Kind) -> None:
    assert 1_000 < memory.bytes_each(kind, 500).traced < 20_000


@pytest.mark.real
def test_an_outage_ends_with_a_good_answer() -> None:
    waits = trio.run(recovery.recoveries, 2, 0.05)
    assert [wait for wait in waits if not 0 <= wait < 10] == []


@pytest.mark.parametrize("setting", ["default", "rare"])
def test_many_actors_start_answer_and_stop(setting: str) -> None:
    thresholds = gc.get_threshold()
    try:
        lines = trio.run(many.live, 50, setting)
    finally:
        gc.set_threshold(*thresholds)
    assert [line.split()[0] for line in lines] == ["start", "memory", "answer", "stop"]


def test_the_breaker_is_measured_in_parts_of_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "CALLS", 2_000)
    monkeypatch.setattr(breaker, "ROUNDS", 1)
    rows = breaker.measure()
    assert [row["goal"] for row in rows] == [0.6] * 5 + [None]
    assert all(row["ratio"] > 0 for row in rows)


def test_the_barest_loop_does_all_of_the_work_and_is_gone_afterwards() -> None:
    real = Incarnation._serve
    with bare_loop():
        assert Incarnation._serve is not real
        trio.run(actors.fan_in, 2_000)
    assert Incarnation._serve is real


def test_results_say_what_they_were_measured_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "measure", lambda part: [report(part, 1.0, "lower")])
    monkeypatch.setattr(benchmarks.__main__, "RESULTS", tmp_path / "results.json")
    assert main(["actors.ring"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["name"] for row in results.pop("rows")] == ["ring"]
    assert results == machine()
    assert main(["nothing.ring"]) == 2


def test_each_round_gives_everybody_a_turn_and_the_first_does_not_count() -> None:
    costs = iter([99.0, 99.0, 1.0, 10.0, 30.0, 3.0, 2.0, 20.0])  # In turns: ab, ba, ab, ba.
    turns: list[str] = []

    def contender(name: str) -> Callable[[], float]:
        return lambda: (turns.append(name), next(costs))[1]

    found = medians({"a": contender("a"), "b": contender("b")}, rounds=3)
    assert "".join(turns) == "abbaabba"
    assert found == {"a": 20.0, "b": 2.0}


def test_a_goal_is_met_on_its_own_side_and_every_row_is_shown() -> None:
    rows = [at_most("cost", 0.9, 1.0), at_least("speed", 0.9, 1.0), report("figure", 3.0, "lower")]
    assert [row["ok"] for row in rows] == [True, False, True]
    assert table(rows).row_count == 3
