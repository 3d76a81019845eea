"""Children for tests of supervisors: they write down what happens to them, and fail on request."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import attrs
import trio

from resprout import (
    Actor,
    ActorExited,
    ChildSpec,
    Event,
    ExitReason,
    LimitReached,
    Name,
    Normal,
    Shutdown,
    System,
    child,
)

Journal = list[str]


@attrs.define
class Plan:
    """What a player will do; shared by its incarnations, so a test can change it while the tree runs.

    Attributes:
        start_takes: Seconds in `on_start`.
        stop_takes: Seconds in `on_stop`.
        failing_starts: How many of the next starts raise.
        shielded: Whether `on_stop` cannot be cancelled.
    """

    start_takes: float = 0.0
    stop_takes: float = 0.0
    failing_starts: int = 0
    shielded: bool = False


@attrs.define
class Player(Actor):
    """Named by its id in the tree; *journal* is shared by all players of a test."""

    journal: Journal
    plan: Plan = attrs.field(factory=Plan)
    memory: list[str] = attrs.field(factory=list)

    @property
    def id(self) -> str:
        return self.context.path.rpartition("/")[2]

    async def on_start(self) -> None:
        if self.plan.start_takes:
            await trio.sleep(self.plan.start_takes)
        if self.plan.failing_starts:
            self.plan.failing_starts -= 1
            self.journal.append(f"{self.id} failed")
            raise OSError(f"{self.id} cannot start")
        self.journal.append(f"+{self.id}")

    async def on_stop(self, reason: ExitReason) -> None:
        self.journal.append(f"?{self.id}")
        with trio.CancelScope(shield=self.plan.shielded):
            await trio.sleep(self.plan.stop_takes)
        self.journal.append(f"-{self.id}")

    async def crash(self) -> None:
        raise ValueError(f"{self.id} crashed")

    async def finish(self, reason: ExitReason = Normal()) -> None:  # noqa: B008 - frozen
        self.context.stop(reason)

    async def note(self, what: str) -> None:
        self.memory.append(what)

    async def recall(self) -> list[str]:
        return list(self.memory)

    async def nap(self, seconds: float) -> None:
        await trio.sleep(seconds)


def name(id: str) -> Name[Player]:
    """The name under which `player` registers *id*."""
    return Name(Player, id)


def player(id: str, journal: Journal, plan: Plan | None = None, **options: Any) -> ChildSpec:
    """A player called *id*, found by `name(id)`."""
    return child(id, partial(Player, journal, plan or Plan()), name=name(id), **options)


def crash(*ids: str) -> None:
    """Have these players crash, one right after the other."""
    for id in ids:
        name(id).cast(Player.crash)


def finish(id: str, reason: ExitReason | None = None) -> None:
    """Have this player end by itself."""
    name(id).cast(Player.finish, reason if reason is not None else Normal())


class Recorder:
    """The events of a runtime, sorted a little."""

    def __init__(self, runtime: System) -> None:
        self.exits: defaultdict[str, list[ExitReason]] = defaultdict(list)
        self.limits: list[LimitReached] = []
        runtime.events.subscribe(self._take)

    def _take(self, event: Event) -> None:
        match event:
            case ActorExited(actor=path, reason=reason):
                self.exits[path].append(reason)
            case LimitReached():
                self.limits.append(event)
            case _:
                pass


def life(runtime: System, path: str) -> str:
    """What the place at *path* is doing; ``gone`` if there is none."""
    for place in runtime.snapshot().walk():
        if place.path == path:
            return place.life
    return "gone"


def restarts(runtime: System, path: str) -> int:
    """How often nobody ordered the restart of the place at *path*."""
    return next(place.restarts for place in runtime.snapshot().walk() if place.path == path)


def generation(runtime: System, path: str) -> int:
    """Which incarnation fills *path*."""
    return next(place.generation for place in runtime.snapshot().walk() if place.path == path)


STOPPED = Shutdown("the runtime stops")
