"""What type checkers see of actors, refs, names and supervisors; wrong uses are pinned as errors."""

from collections.abc import Callable
from functools import partial
from typing import Self, assert_type

import attrs
import trio

from resprout import (
    Actor,
    Address,
    ChildCounts,
    ChildInfo,
    ChildSpec,
    Context,
    DynamicSupervisor,
    ExitReason,
    Name,
    Normal,
    Ref,
    Signal,
    Supervisor,
    SupervisorSpec,
    System,
    Timer,
    child,
    dynamic_supervisor,
    open_runtime,
    supervisor,
)


@attrs.define
class Counter(Actor):
    step: int
    total: int = 0

    async def add(self, amount: int, *, times: int = 1) -> int:
        self.total += amount * self.step * times
        return self.total

    async def rename(self, name: str) -> None: ...

    async def on_start(self) -> None:
        assert_type(self.context.ref, Ref[Self])
        assert_type(await self.context.ref.call(Counter.add, 1), int)
        assert_type(self.context.after(1.0, Counter.add, 2, times=3), Timer)
        assert_type(self.context.every(1.0, Counter.rename, "x"), Timer)
        assert_type(await self.context.spawn("child", partial(Counter, 1)), Ref["Counter"])
        assert_type(await self.context.spawn("plain", Plain), Ref["Plain"])
        assert_type(self.context.lookup(COUNTER), Ref["Counter"])
        assert_type(self.context.monitor(COUNTER), Callable[[], None])
        self.context.start_soon(self.beside, 1, "two")
        self.context.start_soon(self.beside, "one", "two")  # type: ignore[arg-type]
        self.context.after(1.0, Counter.add, "two")  # type: ignore[arg-type]

    async def beside(self, number: int, word: str) -> None: ...

    async def on_stop(self, reason: ExitReason) -> None: ...

    async def on_signal(self, signal: Signal) -> None: ...


class Plain(Actor):
    async def ping(self) -> str:
        return "pong"


class Twice(Counter):
    """Inherits its messages."""


COUNTER = Name(Counter, "counter")
TWICE = Name(Twice, "twice")
ROOMS = Name(DynamicSupervisor, "rooms")


async def calls(ref: Ref[Counter], address: Address[Counter], twice: Ref[Twice]) -> None:
    assert_type(await ref.call(Counter.add, 2), int)
    assert_type(await COUNTER.call(Counter.add, 2, times=3), int)
    assert_type(await address.call(Counter.add, amount=2), int)
    assert_type(await twice.call(Counter.add, 2), int)
    assert_type(await TWICE.call(Twice.add, 2), int)
    assert_type(ref.within(30), Ref[Counter])
    assert_type(COUNTER.within(30), Name[Counter])
    assert_type(await ref.within(30).call(Counter.add, 2), int)
    assert_type(ref.channel(Counter.rename), trio.abc.SendChannel[str])
    assert_type(ref.offered(dict), dict | None)  # type: ignore[type-arg] # what `type[dict]` means
    assert_type(ref.path, str)
    ref.cast(Counter.add, 2)
    ref.cast(Counter.rename, "x")
    await ref.send(Counter.add, 2, times=2)
    assert_type(COUNTER, Name[Counter])


async def mistakes(ref: Ref[Counter], plain: Ref[Plain]) -> None:
    await ref.call(Counter.add, "2")  # type: ignore[arg-type]
    await ref.call(Counter.add)  # type: ignore[call-arg]
    await ref.call(Counter.add, 2, 3)  # type: ignore[call-arg]
    await ref.call(Counter.add, 2, colour=3)  # type: ignore[call-arg]
    ref.cast(Counter.rename, 2)  # type: ignore[arg-type]
    await ref.send(Counter.rename)  # type: ignore[call-arg]
    await plain.call(Counter.add, 2)  # type: ignore[arg-type]
    COUNTER.cast(Plain.ping)  # type: ignore[arg-type]
    await ref.call(Counter.on_hold, 2)  # type: ignore[attr-defined]
    await ref.channel(Counter.rename).send(2)  # type: ignore[arg-type]


async def trees(system: System, context: Context[Counter]) -> None:
    leaf = child("counter", partial(Counter, 1), name=COUNTER)
    assert_type(leaf, ChildSpec)
    tree = supervisor("app", leaf, dynamic_supervisor("rooms", name=ROOMS))
    assert_type(tree, SupervisorSpec)
    async with open_runtime(tree) as runtime:
        assert_type(runtime, System)
        assert_type(runtime.ref("app/counter"), Ref[Actor])
        assert_type(await runtime.wait(), ExitReason)
    assert_type(await ROOMS.call(DynamicSupervisor.start_child, leaf), str)
    assert_type(await ROOMS.call(Supervisor.which_children), list[ChildInfo])
    assert_type(await ROOMS.call(Supervisor.count_children), ChildCounts)
    await ROOMS.call(Supervisor.terminate_child, 7)  # type: ignore[arg-type]
    child("counter", Counter(1))  # type: ignore[arg-type]
    child("counter", Counter)  # type: ignore[arg-type] # An argument is missing.
    supervisor("app", Counter)  # type: ignore[arg-type]
    context.stop(Normal())
    context.stop("normal")  # type: ignore[arg-type]


def test_the_types_are_checked_by_mypy_and_pyright() -> None:
    """Nothing to run: `make types` reads this file."""
    assert all((calls, mistakes, trees))
