"""What type checkers refuse. Each wrong line carries the complaint of mypy and that of pyright.

An ignore that suppresses nothing is an error here, for both, so a line that stops being refused fails
`make types`. `tests/project/test_type_gate.py` shows that the gate closes.
"""

from functools import partial

from resprout import (
    REST_FOR_ONE,
    Actor,
    Address,
    Backoff,
    Context,
    Crashed,
    DynamicSupervisor,
    Intensity,
    Name,
    Normal,
    Ref,
    Supervisor,
    System,
    child,
    dynamic_supervisor,
    run,
    supervisor,
)
from tests.typing.test_engine_types import COUNTER, ROOMS, Box, Counter, Plain, Twice


async def arguments(ref: Ref[Counter], name: Name[Counter], address: Address[Counter]) -> None:
    await ref.call(Counter.add, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.call(Counter.add)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ref.call(Counter.add, 2, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ref.call(Counter.add, 2, amount=2)  # type: ignore[misc]  # pyright: ignore[reportCallIssue]
    await ref.call(Counter.add, 2, colour=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ref.call(Counter.add, 2, times="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.call(Counter.rename, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.call(Counter.greet, "x", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await name.call(Counter.add, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await address.call(Counter.add, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.within(3).call(Counter.add, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ref.cast(Counter.rename, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ref.cast(Counter.rename)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ref.cast(Counter.rename, "x", "y")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    name.cast(Counter.rename, title="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ref.send(Counter.rename)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ref.send(Counter.rename, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.send(Counter.add, 2, by=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def results(ref: Ref[Counter]) -> None:
    word: str = await ref.call(Counter.add, 2)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    (await ref.call(Counter.add, 2)).upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert ref.call(Counter.add, 2) + 1  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
    sent: int = await ref.send(Counter.add, 2)  # type: ignore[assignment, func-returns-value]  # pyright: ignore[reportAssignmentType]
    told: int = ref.cast(Counter.add, 2)  # type: ignore[assignment, func-returns-value]  # pyright: ignore[reportAssignmentType]
    assert all([word, sent, told])


async def methods(ref: Ref[Counter], plain: Ref[Plain], counters: Name[Counter]) -> None:
    await plain.call(Counter.add, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.call(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    counters.cast(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await counters.send(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.call(Twice.double)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.call(Counter.on_hold, 2)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await ref.call("add", 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ref.call(Counter.peek)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ref.cast(Counter.peek)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.send(Counter.peek)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.call(Counter(1).add, 2)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ref.call(ref.call, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def generics(ref: Ref[Box[int]]) -> None:
    await ref.call(Box[int].put, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.call(Box[str].put, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    word: str = await ref.call(Box[int].get)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    assert word


async def addresses(ref: Ref[Counter], twice: Ref[Twice], plain: Ref[Plain]) -> None:
    ref.within("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    COUNTER.within(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ref.channel(Counter.rename).send(2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ref.channel(Counter.on_hold)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    ref.channel(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ref.channel(Counter.peek)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Name("counter", "counter")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Name(Counter, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Name(int, "counter")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    other: Ref[Counter] = plain  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    narrower: Ref[Twice] = ref  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    named: Ref[Counter] = COUNTER  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    assert all([other, narrower, named])


class Careless(Counter):
    async def on_start(self) -> None:
        self.context.after(1.0, Careless.add, "two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.after(1.0, Careless.add)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        self.context.after("1", Careless.add, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.then(Careless.add, "two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.then(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.after(1.0, Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.after(1.0, Careless.peek)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.every(1.0, Careless.rename, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.every(1.0, Careless.add, 1, often=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        self.context.every(1.0, Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.start_soon(self.beside, "one", "two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.start_soon(self.beside, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.start_soon(self.peek)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.monitor("counter")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.link(Counter(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.lookup("counter")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.context.emit("happened")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await self.context.spawn("child", Counter)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await self.context.spawn("child", Counter(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await self.context.spawn(7, Plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        plain: Ref[Plain] = await self.context.spawn("child", partial(Counter, 1))  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
        assert plain


class WrongHooks(Actor):
    async def on_start(self, eager: bool) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

    async def on_stop(self) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

    def on_signal(self, signal: int) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


async def trees(system: System, context: Context[Counter]) -> None:
    child("counter", Counter(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child("counter", Counter)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child("counter", int)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    child(7, Plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child("plain", Plain, name="plain")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child("plain", Plain, name=COUNTER)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child("plain", partial(Plain, 3))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    child("plain", Plain, restart="permanent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child("plain", Plain, shutdown="5 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child("plain", Plain, backoff=3.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child("plain", Plain, patience=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    supervisor("app", Counter)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    supervisor("app", [child("plain", Plain)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    supervisor("app", strategy="one_for_one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    supervisor("app", intensity=Intensity())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    supervisor("app", name=COUNTER)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    supervisor("app", on_limit=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dynamic_supervisor("rooms", child("plain", Plain))  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    dynamic_supervisor("rooms", strategy=REST_FOR_ONE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    dynamic_supervisor("rooms", name=COUNTER)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Backoff(base="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(Plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    context.stop("normal")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    context.stop(Normal)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Crashed("broken")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await system.ref("app").call(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def requests() -> None:
    await ROOMS.call(DynamicSupervisor.start_child, Plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ROOMS.call(DynamicSupervisor.start_child, "plain", Plain)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    await ROOMS.call(Supervisor.terminate_child, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ROOMS.call(Supervisor.restart_child)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ROOMS.call(Supervisor.delete_child, id=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ROOMS.call(Supervisor.which_children, "app")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await COUNTER.call(Supervisor.which_children)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert (await ROOMS.call(Supervisor.count_children)).alive  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_types_are_checked_by_mypy_and_pyright() -> None:
    """Nothing to run: `make types` reads this file."""
    assert all((arguments, results, methods, generics, addresses, trees, requests, Careless, WrongHooks))
