"""The benchmarks keep running; what they measure is for `make bench`, not for a busy test machine."""

from collections.abc import Callable, Coroutine

import pytest
import trio

from benchmarks import engine, raw_trio
from benchmarks.__main__ import table
from benchmarks.compare import at_least, at_most, medians, report

PAIRS = [
    raw_trio.call,
    raw_trio.cast,
    raw_trio.batched_cast,
    raw_trio.restart,
    engine.call,
    engine.call_from_many,
    engine.cast,
    engine.restart,
    engine.raw_call_processor_time,
]


@pytest.mark.parametrize("work", PAIRS, ids=lambda work: f"{work.__module__}.{work.__name__}")
def test_the_work_is_done_and_costs_something(
    work: Callable[[int], Coroutine[object, object, float]],
) -> None:
    assert trio.run(work, 2_000) > 0


@pytest.mark.parametrize("work", [raw_trio.spawn, engine.spawn])
def test_stopping_takes_time_on_top_of_starting(
    work: Callable[[int], Coroutine[object, object, tuple[float, float]]],
) -> None:
    started, stopped = trio.run(work, 50)
    assert 0 < started < stopped


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
