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
    Control,
    Crashed,
    DynamicSupervisor,
    Intensity,
    Name,
    Normal,
    Pool,
    Ref,
    Reply,
    StateMachine,
    Supervisor,
    System,
    Tasks,
    child,
    control,
    dynamic_supervisor,
    pool,
    run,
    supervisor,
    task_supervisor,
)
from resprout.testing import Probe
from tests.typing.test_engine_types import (
    COUNTER,
    JOBS,
    ROOMS,
    WORKERS,
    Box,
    Counter,
    Gate,
    Plain,
    Twice,
    label,
)


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


async def one_off_work() -> None:
    jobs = Tasks(JOBS)
    await jobs.run(label, "1", "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await jobs.run(label, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await jobs.run(label, 1, "a", 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await jobs.run(label(1, "a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await jobs.run(len, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    jobs.start_soon(label, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    jobs.start_soon(label, "1", "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    numbers: list[int] = await jobs.run(label, 1, "a")  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    path: int = jobs.start_soon(label, 1, "a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    Tasks(ROOMS)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Tasks("jobs")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    task_supervisor("jobs", name=COUNTER)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    task_supervisor("jobs", child("plain", Plain))  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    task_supervisor("jobs", max_children="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert all([numbers, path])


async def pools() -> None:
    await WORKERS.call(Counter.add, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await WORKERS.call(Counter.add)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await WORKERS.call(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await WORKERS.by_key("ann").call(Counter.add, 2, colour=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    WORKERS.cast(Counter.rename, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    WORKERS.by_key(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    word: str = await WORKERS.call(Counter.add, 2)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    other: Ref[Plain] = WORKERS.next()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    Pool(int, "numbers")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    Pool("workers", "workers")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool("workers", Plain, name=WORKERS)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool("workers", Plain, name=COUNTER)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool("workers", Counter)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool("workers", Plain, route="by_key")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool("workers", Plain, strategy=REST_FOR_ONE)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert all([word, other])


class CarelessGate(Gate):
    async def push(self, hard: bool) -> int:
        self.become("open" if hard else None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.become(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.next_event(CarelessGate.push, "hard")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.next_event(CarelessGate.knock)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        self.next_event(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.state_timeout("1", CarelessGate.push, True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.state_timeout(1.0, CarelessGate.push)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        self.event_timeout(1.0, CarelessGate.knock, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.event_timeout(1.0, Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.named_timeout(1.0, CarelessGate.push, True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
        self.named_timeout("name", 1.0, CarelessGate.push, hard="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.cancel_timeout(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        size: list[int] = self.state  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        return size[0]


class WrongStates(StateMachine[int | str]):
    def initial(self) -> float: ...  # type: ignore[empty-body, override]  # pyright: ignore[reportIncompatibleMethodOverride]

    async def on_enter(self, new: int | str) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


class CarelessLate(Actor):
    async def later(self) -> int:
        reply: Reply[int] = self.context.reply_later()
        reply.send("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        reply.send()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        reply.fail("broken")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        reply.fail(KeyboardInterrupt())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        return reply  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    async def never(self) -> str:
        reply: Reply[int] = self.context.reply_later()
        return reply.promise  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


async def holds(ref: Ref[Counter]) -> None:
    hold = control(ref)
    word: str = await hold.inspect(Counter.peek)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    await hold.inspect(lambda counter: counter.size)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await hold.inspect(Plain.ping)  # type: ignore[arg-type, unused-coroutine]  # pyright: ignore[reportArgumentType]
    await hold.inspect("total")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await hold.replace_state({"total": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await hold.replace_state(lambda counter: counter.total)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    await hold.trace(lambda event: event.methods)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await hold.trace(print, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await hold.keep_log("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hold.stop("normal")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    other: Control[Plain] = hold  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    control("counter")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    control(Counter(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    counted: int = (await hold.get_statistics()).handled  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    assert all([word, other, counted])


async def probes() -> None:
    probe = Probe(Counter)
    probe.replies(Plain.ping, "pong")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    probe.fails(Counter.add, "broken")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    probe.fails(Plain.ping, ValueError())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await probe.expect(Counter.add, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await probe.expect(Counter.add)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await probe.expect(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await probe.expect_message(Plain.ping)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    probe.child("plain", name=Name(Plain, "plain"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    probe.within("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Probe(int)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    Probe(Counter(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_the_types_are_checked_by_mypy_and_pyright() -> None:
    """Nothing to run: `make types` reads this file."""
    assert all((arguments, results, methods, generics, addresses, trees, requests, Careless, WrongHooks))
    assert all((one_off_work, pools, holds, probes, CarelessGate, WrongStates, CarelessLate))
