"""The scenario that the runtime itself is tested with: random supervisors, actors of every kind, and their users."""

from __future__ import annotations

import math
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from resprout.runtime import Backoff, Crashed, Ref, System
from resprout.supervisors import (
    ChildSpec,
    CoolDown,
    RestartType,
    Strategy,
    SupervisorSpec,
    TaskFailed,
    Tasks,
    child,
    supervisor,
    task_supervisor,
)
from resprout.testing.books import Books
from resprout.testing.players import Clerk, Gate, Shelf, Worker, errand
from resprout.testing.simulation import Scenario
from resprout.testing.striking import InjectedCrash
from resprout.testing.watching import find

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE = (0.5, 2.0, 5.0)
KINDS: tuple[type[Worker | Clerk | Shelf | Gate], ...] = (Worker, Clerk, Shelf, Gate)


def random_tree(dice: random.Random) -> Scenario:
    """A tree, two levels of supervisors at most, whose root never gives up."""
    town = _Town(Books())
    tree = town.plant(dice, "r", "r", 0)
    return Scenario(
        tree=tree,
        actions={
            "call": town.call,
            "cast": town.cast,
            "later": town.later,
            "send": town.send,
            "shelve": town.shelve,
            "task": town.task,
            "enter": town.enter,
        },
        invariants=[*town.books.invariants, town.failures_stay_in_their_task],
    )


@attrs.define
class _Town:
    """A tree and those who use it."""

    books: Books
    places: dict[str, list[str]] = attrs.field(factory=dict)  # Paths by kind of actor.

    # What users do.

    async def call(self, runtime: System, dice: random.Random) -> None:
        await self._ask(runtime, dice, Worker.work)

    async def later(self, runtime: System, dice: random.Random) -> None:
        await self._ask(runtime, dice, Clerk.later)

    async def cast(self, runtime: System, dice: random.Random) -> None:
        ref = self._some(runtime, dice, Worker)
        if ref is not None:
            ref.cast(Worker.work, dice.getrandbits(40), dice.random())

    async def send(self, runtime: System, dice: random.Random) -> None:
        ref = self._some(runtime, dice, Worker)
        if ref is not None:
            await ref.send(Worker.work, dice.getrandbits(40), dice.random())

    async def shelve(self, runtime: System, dice: random.Random) -> None:
        await self._tell_or_ask(runtime, dice, Shelf, Shelf.shelve)

    async def enter(self, runtime: System, dice: random.Random) -> None:
        await self._tell_or_ask(runtime, dice, Gate, Gate.enter)

    async def task(self, runtime: System, dice: random.Random) -> None:
        ref, number, fate = self._some(runtime, dice, Tasks), dice.getrandbits(40), dice.random()
        if ref is None:
            return
        if dice.random() < 0.2:
            Tasks(ref).start_soon(errand, self.books, number, fate)
            return
        with trio.move_on_after(dice.choice([math.inf, math.inf, 0.3])):
            try:
                answer = await Tasks(ref).run(errand, self.books, number, fate)
                self._check(answer, number)
            except TaskFailed as failed:
                self.books.check(
                    isinstance(failed.cause, ValueError), "a task fails with its own error", str(failed)
                )
            finally:
                assert number not in self.books.errands, "a task ends before its caller goes on"

    async def _tell_or_ask(self, runtime: System, dice: random.Random, kind: Any, method: Any) -> None:
        if dice.random() < 0.5:
            await self._ask(runtime, dice, method)
            return
        ref = self._some(runtime, dice, kind)
        if ref is not None:
            ref.cast(method, dice.getrandbits(40), dice.random())

    async def _ask(self, runtime: System, dice: random.Random, method: Callable[..., Awaitable[int]]) -> None:
        kind = {Worker.work: Worker, Clerk.later: Clerk, Shelf.shelve: Shelf, Gate.enter: Gate}[method]
        ref, number = self._some(runtime, dice, kind), dice.getrandbits(40)
        if ref is None:
            return
        try:
            self._check(await ref.within(dice.choice(PATIENCE)).call(method, number, dice.random()), number)
        finally:
            self.books.caller_gone(number)

    def _check(self, answer: int, number: int) -> None:
        assert answer == number, f"an answer that belongs to another call: {answer}"
        assert self.books.handled[number] == 1, (
            f"{number} was answered and ran {self.books.handled[number]} times"
        )

    def _some(self, runtime: System, dice: random.Random, kind: type) -> Ref[Any] | None:
        """An actor of this *kind*; None if the tree has none."""
        there = [
            cell for path in self.places.get(kind.__name__, ()) if (cell := find(runtime, path)) is not None
        ]
        return Ref(dice.choice(there)) if there else None

    # What must hold.

    def failures_stay_in_their_task(self, runtime: System) -> str:
        for path in self.places.get(Tasks.__name__, ()):
            cell = find(runtime, path)
            reason = cell.exit_reason if cell is not None else None
            if isinstance(reason, Crashed) and not isinstance(reason.error, InjectedCrash):
                return f"{path} {reason}"
        return ""

    # The tree.

    def plant(self, dice: random.Random, id: str, path: str, depth: int) -> SupervisorSpec:
        below: list[ChildSpec] = []
        for number in range(dice.randint(2, 3)):
            if depth < 2 and number and dice.random() < 0.5:
                below.append(self.plant(dice, f"{id}{number}", f"{path}/{id}{number}", depth + 1))
            else:
                below.append(self._actor(dice, f"{id}{number}", path, first=not number))
        if dice.random() < 0.4:
            self._note(Tasks, f"{path}/{id}t")
            below.append(
                task_supervisor(
                    f"{id}t", max_children=dice.choice([2, 100]), task_shutdown=dice.choice([0.5, 2.0])
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

    def _actor(self, dice: random.Random, id: str, above: str, *, first: bool) -> ChildSpec:
        kind = Worker if first else dice.choice(KINDS)
        self._note(kind, f"{above}/{id}")
        # What is put aside must find an actor again, so that it can be missed.
        lasting = first or kind in (Shelf, Gate)
        return child(
            id,
            partial(kind, self.books),
            restart=RestartType.PERMANENT if lasting else dice.choice([*RestartType, RestartType.PERMANENT]),
            start_timeout=dice.choice([1.0, 5.0]),
            shutdown=dice.choice([0.5, 2.0]),
            backoff=dice.choice([None, None, Backoff(0.05, 0.2, 2.0)]),
            mailbox=dice.choice([3, 1_000]),
        )

    def _note(self, kind: type, path: str) -> None:
        self.places.setdefault(kind.__name__, []).append(path)
