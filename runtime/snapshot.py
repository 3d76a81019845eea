"""The tree as plain data, for the console, metrics and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import attrs
import trio

if TYPE_CHECKING:
    from resprout.runtime.cell import Cell

Fact: TypeAlias = str | int | float | bool | None


@runtime_checkable
class Described(Protocol):
    """What an actor offers may describe itself; the facts are shown beside it in the tree."""

    def describe(self) -> Mapping[str, Fact]:
        """A few facts, such as ``{"state": "ready"}``."""
        ...


@attrs.frozen(kw_only=True)
class Snapshot:
    """One place in the tree at one moment.

    Attributes:
        id: The last part of *path*.
        kind: The actor's class, such as ``RedisConnection``; the recipe's, while none is alive.
        life: starting, running, stopping, restarting or stopped.
        generation: Incarnations so far.
        restarts: Restarts so far that nobody ordered.
        age: Seconds since the present incarnation began, or since the last one ended.
        waiting: Messages in the mailbox, of *capacity*.
        handling: Name of the message in work.
        last_exit: Why the last incarnation ended; None before the first did.
        facts: What the actor's offer says about itself.
        children: In start order.
    """

    id: str
    path: str
    name: str | None
    kind: str
    life: str
    generation: int
    restarts: int
    age: float
    waiting: int
    capacity: int
    handling: str | None
    tasks: int
    last_exit: str | None
    facts: Mapping[str, Fact]
    children: tuple[Snapshot, ...]

    def walk(self) -> list[Snapshot]:
        """This place and all below it, parents first."""
        return [self] + [below for child in self.children for below in child.walk()]


def snapshot_of(cell: Cell) -> Snapshot:
    """*cell* and all below it, now."""
    name, now = cell.recipe.name, cell.incarnation
    actor, current = (now.actor, now.current) if now is not None else (None, None)
    ended = not cell.running or cell.generation > 1
    return Snapshot(
        id=cell.recipe.id,
        path=cell.path,
        name=name.key if name is not None else None,
        kind=type(actor).__name__ if actor is not None else _kind(cell.recipe.start),
        life=cell.life.value,
        generation=cell.generation,
        restarts=cell.restarts,
        age=trio.current_time() - cell.since,
        waiting=len(cell.mailbox),
        capacity=cell.mailbox.capacity,
        handling=current.method if current is not None else None,
        tasks=cell.task_count,
        last_exit=str(cell.exit_reason) if ended else None,
        facts=_facts(cell.offer),
        children=tuple(snapshot_of(child) for child in cell.children.values()),
    )


def _kind(start: object) -> str:
    made = getattr(start, "func", start)
    return getattr(made, "__name__", type(made).__name__)


def _facts(offer: object) -> Mapping[str, Fact]:
    try:
        return dict(offer.describe()) if isinstance(offer, Described) else {}
    except Exception as error:  # noqa: BLE001 - one bad description must not hide the whole tree.
        return {"error": f"describe() raised {type(error).__name__}"}
