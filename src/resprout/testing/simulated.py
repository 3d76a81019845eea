"""The scenario that the runtime itself is tested with: random supervisors, workers, calls and casts."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

import attrs
import trio

from resprout.runtime import Actor, Backoff, Ref, System
from resprout.supervisors import ChildSpec, CoolDown, RestartType, Strategy, SupervisorSpec, child, supervisor
from resprout.testing.simulation import Scenario
from resprout.testing.watching import cells


@attrs.define
class Worker(Actor):
    """Works on what it is sent, for a while, in vain or for ever."""

    handled: Counter[int]

    async def work(self, number: int, fate: float) -> int:
        """Return *number*; *fate*, from 0 to 1, says what comes between."""
        self.handled[number] += 1
        if fate < 0.05:
            raise ValueError("unlucky")
        if fate < 0.1:
            await trio.sleep(20)
        if fate < 0.6:
            await trio.sleep(fate)
        return number


def random_tree(dice: random.Random) -> Scenario:
    """A tree, two levels of supervisors at most, whose root never gives up."""
    handled: Counter[int] = Counter()
    tree = _plant(dice, handled, "r", 0)

    async def call(runtime: System, dice: random.Random) -> None:
        number, patience = dice.getrandbits(40), dice.choice([0.5, 2.0, 5.0])
        answer = await _worker(runtime, dice).within(patience).call(Worker.work, number, dice.random())
        assert answer == number, f"an answer that belongs to another call: {answer}"

    async def cast(runtime: System, dice: random.Random) -> None:
        _worker(runtime, dice).cast(Worker.work, dice.getrandbits(40), dice.random())

    def no_message_runs_twice(runtime: System) -> str:
        twice = next((number for number, times in handled.items() if times > 1), None)
        return f"message {twice} did" if twice is not None else ""

    return Scenario(tree=tree, actions={"call": call, "cast": cast}, invariants=[no_message_runs_twice])


def _worker(runtime: System, dice: random.Random) -> Ref[Worker]:
    places = [cell for cell in cells(runtime) if not isinstance(cell.recipe, SupervisorSpec)]
    return Ref(dice.choice(places))


def _plant(dice: random.Random, handled: Counter[int], id: str, depth: int) -> SupervisorSpec:
    below: list[ChildSpec] = []
    for number in range(dice.randint(2, 3)):
        if depth < 2 and number and dice.random() < 0.5:
            below.append(_plant(dice, handled, f"{id}{number}", depth + 1))
        else:
            below.append(
                child(
                    f"{id}{number}",
                    partial(Worker, handled),
                    restart=dice.choice([*RestartType, RestartType.PERMANENT])
                    if number
                    else RestartType.PERMANENT,
                    start_timeout=dice.choice([1.0, 5.0]),
                    shutdown=dice.choice([0.5, 2.0]),
                    backoff=dice.choice([None, None, Backoff(0.05, 0.2, 2.0)]),
                )
            )
    return supervisor(
        id,
        *below,
        strategy=dice.choice(list(Strategy)),
        intensity=dice.randint(0, 4),
        period=dice.choice([1.0, 5.0]),
        on_limit=CoolDown(0.5, 4.0),
    )
