"""A random tree under random faults on virtual time: what happens is decided by one seed, and written down."""

from __future__ import annotations

import math
import random
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any, cast

import attrs
import trio
from trio.testing import MockClock

from resprout import (
    BRUTAL_KILL,
    GIVE_UP,
    Actor,
    ActorError,
    ActorExited,
    ActorRestarting,
    AutoShutdown,
    Backoff,
    ChildError,
    ChildExit,
    ChildSpec,
    CoolDown,
    Event,
    ExitReason,
    Killed,
    Normal,
    Ref,
    RestartType,
    Shutdown,
    Signal,
    Strategy,
    Supervisor,
    SupervisorSpec,
    System,
    child,
    dynamic_supervisor,
    open_runtime,
    supervisor,
)
from resprout.testing.budget import RestartBudget
from resprout.testing.scheduling import seeded

LENGTH = 40.0  # Virtual seconds of faults before the stop.
CALL_TIMEOUTS = (0.5, 2.0, 5.0)


@attrs.define
class Attempt:
    """One message of one sender, and how it went for him."""

    sender: int
    number: int
    path: str
    outcome: BaseException | str = "cast"
    seconds: float = 0.0
    timeout: float = math.inf


@attrs.define
class World:
    """What was done and seen."""

    random: random.Random
    attempts: list[Attempt] = attrs.field(factory=list)
    handled: list[tuple[str, int, int]] = attrs.field(factory=list)  # path, sender, number
    events: list[tuple[float, Event, int]] = attrs.field(factory=list)  # when, what, position among siblings
    specs: dict[str, SupervisorSpec] = attrs.field(factory=dict)
    alive: Counter[str] = attrs.field(factory=Counter)  # Incarnations by path that began and did not end.
    overlaps: list[str] = attrs.field(factory=list)
    budget: RestartBudget = attrs.field(factory=RestartBudget)
    over_budget: list[str] = attrs.field(factory=list)
    added: int = 0
    left_running: list[str] = attrs.field(factory=list)
    stopping_at: float = 0.0
    runtime: System | None = None
    calm: bool = True  # Until the tree has started: whole trees would rarely come up under faults.

    def chance(self, probability: float) -> bool:
        return not self.calm and self.random.random() < probability

    def journal(self) -> list[str]:
        """Everything, as text: equal for equal seeds."""
        seen = [f"{at:.6f} {type(event).__name__} {event.actor}" for at, event, _ in self.events]
        return [
            *seen,
            *map(repr, self.handled),
            *(f"{a.sender} {a.number} {a.outcome!r}" for a in self.attempts),
        ]


class Fault(Exception):
    """Injected."""


@attrs.define
class Subject(Actor):
    """Does what it is told, unless the dice say otherwise."""

    world: World

    async def on_start(self) -> None:
        world, path = self.world, self.context.path
        world.alive[path] += 1
        if world.alive[path] > 1:
            world.overlaps.append(path)
        await self._falter(hang=0.02, fail=0.06)
        if world.chance(0.2):
            self.context.start_soon(self._beside)
        if world.chance(0.1):
            self.context.every(world.random.uniform(0.5, 3), Subject.beat)
        if world.chance(0.1):
            await self.context.spawn("kid", partial(Kid, world))

    async def on_stop(self, reason: ExitReason) -> None:
        await self._falter(hang=0.03, fail=0.05)

    async def on_signal(self, signal: Signal) -> None:
        if isinstance(signal, ChildExit) and self.world.chance(0.5):
            await super().on_signal(signal)

    async def _falter(self, *, hang: float, fail: float) -> None:
        """Take a moment, or for ever, or fail."""
        if self.world.calm:
            return
        dice = self.world.random.random()
        if dice < hang:
            await trio.sleep_forever()
        if dice < hang + fail:
            raise Fault(self.context.path)
        if dice < 0.6:
            await trio.sleep(self.world.random.uniform(0, 1.5))

    async def _beside(self) -> None:
        try:
            await trio.sleep(self.world.random.uniform(0, 30))
            if self.world.chance(0.3):
                raise Fault("beside")
        finally:
            if self.world.chance(0.1):
                raise Fault("cleanup beside")

    async def beat(self) -> None:
        pass

    async def work(self, sender: int, number: int) -> tuple[int, int]:
        self.world.handled.append((self.context.path, sender, number))
        await self._falter(hang=0.002, fail=0.02)
        return sender, number

    async def finish(self, reason: ExitReason) -> None:
        self.context.stop(reason)

    async def tie(self, other: Ref[Any]) -> None:
        self.context.link(other)

    async def watch(self, other: Ref[Any]) -> None:
        self.context.monitor(other)


class Kid(Subject):
    """Spawned by a subject."""

    async def on_start(self) -> None:
        await self._falter(hang=0.0, fail=0.05)


def make(world: World) -> Actor:
    """The factory of a subject, which may fail itself."""
    if world.chance(0.03):
        raise Fault("factory")
    return Subject(world)


def leaf(world: World, id: str) -> ChildSpec:
    dice = world.random
    return child(
        id,
        partial(make, world),
        restart=dice.choice(list(RestartType)),
        shutdown=dice.choice([0, 0.5, 2, 5, BRUTAL_KILL]),
        start_timeout=dice.choice([1.0, 5.0]),
        mailbox=dice.choice([2, 20, 1_000]),
        backoff=dice.choice([None, None, Backoff(0.05, 0.2, 2.0)]),
    )


def plant(world: World, id: str, path: str, depth: int) -> SupervisorSpec:
    """A random supervisor; the root never gives up, so that every seed has its whole time."""
    dice = world.random
    if depth and dice.random() < 0.25:
        spec = dynamic_supervisor(id, intensity=dice.randint(0, 5), max_children=dice.choice([None, 3]))
    else:
        children: list[ChildSpec] = []
        for number in range(dice.randint(1, 4)):
            below = f"{id}{number}"
            if depth < 2 and dice.random() < 0.4:
                children.append(plant(world, below, f"{path}/{below}", depth + 1))
            else:
                children.append(leaf(world, below))
        spec = supervisor(
            id,
            *children,
            strategy=dice.choice(list(Strategy)),
            intensity=dice.randint(0, 5),
            period=dice.choice([1.0, 5.0, 10.0]),
            on_limit=CoolDown(0.5, 4) if not depth else dice.choice([GIVE_UP, CoolDown(0.5, 4)]),
            auto_shutdown=AutoShutdown.NEVER,
        )
    world.specs[path] = spec
    return spec


def places(runtime: System) -> list[str]:
    return [place.path for place in runtime.snapshot().walk()]


def leaves(runtime: System, world: World) -> list[str]:
    return [path for path in places(runtime) if path not in world.specs]


async def send_messages(runtime: System, world: World, sender: int) -> None:
    """Casts, calls and cancelled calls, one after the other, to whoever is there."""
    number = 0
    while True:
        await trio.sleep(world.random.expovariate(4))
        for _ in range(world.random.choice([1, 1, 1, 10])):
            number += 1
            paths = leaves(runtime, world)
            if not paths:
                break
            path = world.random.choice(paths)
            attempt = Attempt(sender, number, path)
            world.attempts.append(attempt)
            ref = cast("Ref[Subject]", runtime.ref(path))
            if world.chance(0.5):
                try:
                    ref.cast(Subject.work, sender, number)
                except ActorError as error:
                    attempt.outcome = error
            else:
                await call(ref, attempt, world)


async def call(ref: Ref[Subject], attempt: Attempt, world: World) -> None:
    attempt.timeout = world.random.choice(CALL_TIMEOUTS)
    patience = world.random.choice([math.inf, math.inf, 0.0, 0.3])
    attempt.outcome = "cancelled"
    before = trio.current_time()
    with trio.move_on_after(patience):
        try:
            answer = await ref.within(attempt.timeout).call(Subject.work, attempt.sender, attempt.number)
            attempt.outcome = "answered" if answer == (attempt.sender, attempt.number) else "wrong answer"
        except ActorError as error:
            attempt.outcome = error
    attempt.seconds = trio.current_time() - before


async def make_trouble(runtime: System, world: World) -> None:
    """Kills, ends, links, requests, cancelled requests."""
    dice = world.random
    while True:
        await trio.sleep(dice.expovariate(1.5))
        path = dice.choice(places(runtime))
        ref = runtime.ref(path)
        match dice.randint(0, 5):
            case 0:
                ref._find().kill("by chance")
            case 1 if path not in world.specs:
                reason: ExitReason = dice.choice([Normal(), Shutdown("by chance"), Killed("by chance")])
                await quietly(cast("Ref[Subject]", ref), Subject.finish, reason)
            case 2 if path not in world.specs and len(leaves(runtime, world)) > 1:
                other = runtime.ref(dice.choice(leaves(runtime, world)))
                await quietly(cast("Ref[Subject]", ref), dice.choice([Subject.tie, Subject.watch]), other)
            case _ if path in world.specs:
                with trio.move_on_after(dice.choice([math.inf, 0.2])):
                    await request(world, cast("Ref[Supervisor]", ref))
            case _:
                pass


async def quietly(ref: Ref[Any], method: Any, *args: object) -> None:
    with suppress(ActorError):
        await ref.send(method, *args)


async def request(world: World, ref: Ref[Supervisor]) -> None:
    dice = world.random
    children = list(ref._find().children)
    world.added += 1
    try:
        match dice.randint(0, 4):
            case 0 | 1:
                await ref.call(Supervisor.start_child, leaf(world, f"added{world.added}"))
            case _ if not children:
                pass
            case 2:
                await ref.call(Supervisor.terminate_child, dice.choice(children))
            case 3:
                await ref.call(Supervisor.restart_child, dice.choice(children))
            case _:
                await ref.call(Supervisor.cycle_child, dice.choice(children))
    except (ActorError, ChildError):
        pass


async def give_up_hope() -> None:
    """Virtual time passes only when nobody can run: whoever hangs meets this, and not the end of time."""
    await trio.sleep(86_000)
    raise RuntimeError("the simulation hangs")


def run(seed: int) -> World:
    """The world after the simulation of *seed*."""
    world = World(random.Random(seed))
    tree = plant(world, "r", "r", 0)
    world.budget.breaks = lambda promise, what: world.over_budget.append(what)
    with seeded(seed), world.budget.in_force():
        trio.run(simulate, world, tree, seed, clock=MockClock(autojump_threshold=0))
    return world


async def simulate(world: World, tree: SupervisorSpec, seed: int) -> None:
    trio.lowlevel.spawn_system_task(give_up_hope)
    async with trio.open_nursery() as nursery, open_runtime(tree, seed=seed) as runtime:
        world.runtime, world.calm = runtime, False
        runtime.events.subscribe(partial(write_down, world, runtime))
        for sender in range(4):
            nursery.start_soon(send_messages, runtime, world, sender)
        nursery.start_soon(make_trouble, runtime, world)
        with trio.move_on_after(LENGTH):
            await runtime.wait()
        world.stopping_at = trio.current_time()
        await runtime.stop()
        world.left_running = sorted(task.name for task in runtime.nursery.child_tasks)
        nursery.cancel_scope.cancel()


def write_down(world: World, runtime: System, event: Event) -> None:
    """Note *event*; of an actor also its position among its siblings at that moment."""
    try:
        cell = runtime.ref(event.actor)._find()
    except LookupError:
        cell = None
    siblings = list(cell.parent.children) if cell is not None and cell.parent is not None else []
    position = siblings.index(event.actor.rpartition("/")[2]) if siblings else 0
    world.events.append((trio.current_time(), event, position))
    match event:
        case ActorExited() if world.alive[event.actor]:
            world.alive[event.actor] -= 1
        case ActorRestarting() if cell is not None:
            world.budget.restarting(cell)
        case _:
            pass
