"""What type checkers see of actors, refs, names and supervisors; wrong uses stand in `test_mistakes`."""

from collections.abc import Callable
from functools import partial
from typing import Generic, Self, TypeVar, assert_type

import attrs
import trio

from resprout import (
    Actor,
    Address,
    ChildCounts,
    ChildInfo,
    ChildSpec,
    Context,
    Control,
    DynamicSupervisor,
    ExitReason,
    Name,
    Normal,
    Pool,
    Ref,
    Reply,
    Signal,
    StateMachine,
    Statistics,
    Supervisor,
    SupervisorSpec,
    System,
    Tasks,
    TaskSupervisor,
    Timer,
    TraceEvent,
    child,
    control,
    dynamic_supervisor,
    open_runtime,
    pool,
    supervisor,
    task_supervisor,
)

T = TypeVar("T")


@attrs.define
class Counter(Actor):
    step: int
    total: int = 0

    async def add(self, amount: int, *, times: int = 1) -> int:
        self.total += amount * self.step * times
        return self.total

    async def rename(self, name: str) -> None: ...

    async def greet(self, name: str, greeting: str = "hello") -> str:
        return f"{greeting} {name}"

    # The slash is for mypy: without it, `self` might be one of *fields*.
    async def log_all(self, /, *lines: str, **fields: int) -> None: ...

    def peek(self) -> int:
        return self.total

    async def on_start(self) -> None:
        assert_type(self.context.ref, Ref[Self])
        assert_type(await self.context.ref.call(Counter.add, 1), int)
        assert_type(self.context.after(1.0, Counter.add, 2, times=3), Timer)
        assert_type(self.context.every(1.0, Counter.rename, "x"), Timer)
        self.context.then(Counter.add, 2, times=3)
        assert_type(await self.context.spawn("child", partial(Counter, 1)), Ref["Counter"])
        assert_type(await self.context.spawn("plain", Plain), Ref["Plain"])
        assert_type(self.context.lookup(COUNTER), Ref["Counter"])
        assert_type(self.context.monitor(COUNTER), Callable[[], None])
        self.context.start_soon(self.beside, 1, "two")

    async def put_off(self) -> int:
        self.context.stash()  # So that no return is missing here.

    async def beside(self, number: int, word: str) -> None: ...

    async def on_stop(self, reason: ExitReason) -> None: ...

    async def on_signal(self, signal: Signal) -> None: ...


class Gate(StateMachine[int | str]):
    def initial(self) -> int | str:
        return 0

    async def knock(self, who: str, *, times: int = 1) -> int:
        assert_type(self.state, int | str)
        self.become(times)
        self.next_event(Gate.knock, who, times=2)
        self.state_timeout(1.0, Gate.knock, "state")
        self.event_timeout(1.0, Gate.knock, "event", times=2)
        self.named_timeout("name", 1.0, Gate.knock, "name")
        self.postpone()  # So that no return is missing here.

    async def on_enter(self, old: int | str, new: int | str) -> None:
        assert_type(await self.context.ref.call(Gate.knock, "me", times=2), int)


class Plain(Actor):
    async def ping(self) -> str:
        return "pong"


class Twice(Counter):
    """Inherits its messages, and has one of its own."""

    async def double(self) -> None: ...


@attrs.define
class Box(Actor, Generic[T]):
    """Generic: its messages are named with what it holds, `Box[int].put`."""

    held: T

    async def put(self, value: T) -> None: ...

    async def get(self) -> T:
        return self.held


COUNTER = Name(Counter, "counter")
TWICE = Name(Twice, "twice")
INTS = Name(Box[int], "ints")
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


async def parameters(ref: Ref[Counter]) -> None:
    """Defaults, keywords and variable arguments of a method are those of its message."""
    assert_type(await ref.call(Counter.greet, "x"), str)
    assert_type(await ref.call(Counter.greet, "x", "good morning"), str)
    assert_type(await ref.call(Counter.greet, greeting="good morning", name="x"), str)
    await ref.call(Counter.log_all)
    await ref.call(Counter.log_all, "a", "b", c=3)


async def generics(ref: Ref[Box[int]], context: Context[Box[int]]) -> None:
    assert_type(INTS, Name[Box[int]])
    assert_type(await ref.call(Box[int].get), int)
    assert_type(await INTS.call(Box[int].put, 3), None)
    assert_type(context.ref, Ref[Box[int]])
    context.after(1.0, Box[int].put, 3)
    child("ints", partial(Box[int], 1), name=INTS)


async def relations(context: Context[Plain], ref: Ref[Counter], address: Address[Counter]) -> None:
    assert_type(context.monitor(ref), Callable[[], None])
    assert_type(context.monitor(address), Callable[[], None])
    context.link(ref)
    context.link(COUNTER)
    assert_type(address.within(1.5), Address[Counter])
    assert_type(ref.instance, Actor | None)


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
    context.stop(Normal())


JOBS = Name(TaskSupervisor, "jobs")


async def label(number: int, word: str) -> dict[str, int]:
    return {word: number}


WORKERS = Pool(Counter, "workers")


async def members() -> None:
    assert_type(WORKERS, Pool[Counter])
    assert_type(WORKERS.by_key("ann"), Ref[Counter])
    assert_type(WORKERS.next(), Ref[Counter])
    assert_type(WORKERS.all(), list[Ref[Counter]])
    assert_type(await WORKERS.call(Counter.add, 2, times=3), int)
    assert_type(await WORKERS.by_key(7).call(Counter.greet, "ann"), str)
    WORKERS.cast(Counter.rename, "x")
    assert_type(pool("workers", partial(Counter, 1), name=WORKERS, size=2), SupervisorSpec)


class Late(Actor):
    """Answers when it likes."""

    async def later(self) -> list[int]:
        reply: Reply[list[int]] = self.context.reply_later()
        assert_type(reply.waited_for, bool)
        assert_type(reply.send([1]), bool)
        assert_type(reply.fail(ValueError()), bool)
        return assert_type(reply.promise, list[int])


async def held(ref: Ref[Counter], late: Ref[Late]) -> None:
    hold = control(ref)
    assert_type(hold, Control[Counter])
    assert_type(control(COUNTER), Control[Counter])
    assert_type(await hold.inspect(lambda counter: counter.total), int)
    assert_type(await hold.inspect(Counter.peek), int)
    assert_type(await hold.get_state(), dict[str, object])
    assert_type(await hold.is_suspended(), bool)
    assert_type(await hold.get_statistics(), Statistics | None)
    assert_type(await hold.get_log(), tuple[TraceEvent, ...])
    await hold.replace_state(lambda counter: {"total": counter.total + 1})
    assert_type(await late.call(Late.later), list[int])


async def one_off_work() -> None:
    jobs = Tasks(JOBS)
    assert_type(jobs, Tasks)
    assert_type(await jobs.run(label, 1, "a"), dict[str, int])
    assert_type(jobs.start_soon(label, 1, "a"), str)
    assert_type(task_supervisor("jobs", name=JOBS), SupervisorSpec)


def test_the_types_are_checked_by_mypy_and_pyright() -> None:
    """Nothing to run: `make types` reads this file."""
    assert all((calls, parameters, generics, relations, trees, members, held, Late, one_off_work))
