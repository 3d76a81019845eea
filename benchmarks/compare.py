"""How two ways of doing the same work are compared: in one run, in turns, by medians.

A machine's speed changes from second to second. So each round measures every contender once, the order turns
from round to round, and only ratios of medians are reported.
"""

import gc
import statistics
from collections.abc import Callable, Mapping
from typing import Literal, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

Measurement = Callable[[], float]
"""Does the work once and returns what it cost: seconds, or microseconds per operation."""


class Row(TypedDict):
    """One line of `results.json`.

    `goal` is None where the figure is only reported; `better` says on which side of the goal success lies.
    """

    name: str
    ratio: float
    goal: float | None
    ok: bool
    better: Literal["lower", "higher"]
    note: NotRequired[str]


def costs(
    contenders: Mapping[str, Callable[[], T]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[T]]:
    """What each contender cost in each of *rounds* interleaved rounds; a first one to warm up does not count."""
    names = list(contenders)
    found: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds + warm_up):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()  # Nobody pays for another's garbage.
            cost = contenders[name]()
            if number >= warm_up:
                found[name].append(cost)
    return found


def medians(contenders: Mapping[str, Measurement], rounds: int, *, warm_up: bool = True) -> dict[str, float]:
    """The median cost of each contender; see `costs`."""
    found = costs(contenders, rounds, warm_up=warm_up)
    return {name: statistics.median(each) for name, each in found.items()}


def at_most(name: str, ratio: float, goal: float, note: str = "") -> Row:
    """A cost compared with the baseline's: the smaller the better."""
    return Row(name=name, ratio=round(ratio, 3), goal=goal, ok=ratio <= goal, better="lower", note=note)


def at_least(name: str, ratio: float, goal: float, note: str = "") -> Row:
    """A speed compared with the baseline's: the bigger the better."""
    return Row(name=name, ratio=round(ratio, 3), goal=goal, ok=ratio >= goal, better="higher", note=note)


def report(name: str, ratio: float, better: Literal["lower", "higher"], note: str = "") -> Row:
    """A figure without a goal yet."""
    return Row(name=name, ratio=round(ratio, 3), goal=None, ok=True, better=better, note=note)
