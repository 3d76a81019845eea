"""What messages, restarts and actors cost, against the same work hand-written on raw trio.

Workloads W1 to W7, each in turns with its raw form (`raw_trio`). The contract is not the same on both sides:
ours has a deadline on every call, notices the callee's death, bounds the mailbox and keeps the mail over a
restart; raw trio does none of it.
"""

import logging
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, TypeAlias, TypeVar
from typing import cast as cast_to

import attrs
import structlog
import trio
from trio.lowlevel import checkpoint

from benchmarks import memory, raw_trio
from benchmarks.bare_loop import bare_loop
from benchmarks.compare import Measurement, Row, at_least, at_most, costs, medians, report
from benchmarks.raw_trio import BURST, PRODUCERS, Spawned, Stopwatch, latency
from resprout import (
    Actor,
    ActorCrashed,
    DynamicSupervisor,
    MailboxFull,
    Name,
    Ref,
    Supervisor,
    child,
    dynamic_supervisor,
    open_runtime,
    supervisor,
)

A = TypeVar("A", bound=Actor)
Spawning: TypeAlias = Callable[[int], Coroutine[object, object, Spawned]]

ROUNDS = 7
SLOW_ROUNDS = 3  # Of what takes seconds each time; these need no warming up.
CALLS, CASTS, CRASHES, CLIENTS = 4_000, 40_000, 1_000, 100
STATIONS, ACTORS = 1_000, 10_000
HOPS = STATIONS * 100


@attrs.define
class Adder(Actor):
    total: int = 0

    async def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    async def crash(self) -> None:
        raise RuntimeError

    async def one(self) -> int:
        return 1


@attrs.define
class Station(Actor):
    """One of a ring: passes the token on until it has no hops left."""

    over: trio.Event
    following: Ref["Station"] | None = None

    async def connect(self, following: Ref["Station"]) -> None:
        self.following = following

    async def hop(self, left: int) -> None:
        if left and self.following is not None:
            self.following.cast(Station.hop, left - 1)
        else:
            self.over.set()


class Idle(Actor):
    pass


ADDER = Name(Adder, "adder")
POOL = Name(DynamicSupervisor, "pool")
ORDERED = Name(Supervisor, "ordered")
TREE = supervisor(
    "bench",
    child("adder", Adder, name=ADDER),
    dynamic_supervisor("pool", name=POOL),
    supervisor("ordered", name=ORDERED, shutdown=60.0),
    intensity=1_000_000,
)


@asynccontextmanager
async def adder() -> AsyncIterator[Ref[Adder]]:
    async with open_runtime(TREE) as runtime:
        yield cast_to("Ref[Adder]", runtime.ref("bench/adder"))


async def call(count: int) -> float:
    """W1: one client, one call after the other; wall time at the median."""
    async with adder() as ref:
        return await latency(lambda: ref.call(Adder.add, 1), count)


async def call_from_many(count: int) -> float:
    """W1 with 100 clients at once; processor time per call."""
    async with adder() as ref:

        async def client() -> None:
            for _ in range(count // CLIENTS):
                await ref.call(Adder.add, 1)

        start = time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(client)
        return (time.process_time() - start) / count


async def cast(count: int) -> float:
    """W2: one producer that waits only when the mailbox of 1,000 is full; processor time per cast."""
    return await fan_in(count, producers=1)


async def fan_in(count: int, producers: int = PRODUCERS) -> float:
    """W3: as `cast`, with 100 producers."""
    async with adder() as ref:

        async def produce() -> None:
            for _ in range(count // producers):
                try:
                    ref.cast(Adder.add, 1)
                except MailboxFull:
                    await ref.send(Adder.add, 1)

        start = time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(producers):
                nursery.start_soon(produce)
        total = await ref.call(Adder.add, 0)
        assert total == count
        return (time.process_time() - start) / count


async def ring(count: int, stations: int = STATIONS) -> float:
    """W4: one token goes round *stations* actors for *count* hops; processor time per hop."""
    over = trio.Event()
    async with pool(stations, partial(Station, over)) as refs:
        for number, ref in enumerate(refs):
            await ref.call(Station.connect, refs[(number + 1) % stations])
        start = time.process_time()
        refs[0].cast(Station.hop, count)
        await over.wait()
        return (time.process_time() - start) / count


async def spawn(count: int) -> Spawned:
    """W5: start actors below a dynamic supervisor, each start acknowledged; then stop them all at once."""
    return await _spawn(count, POOL)


async def spawn_in_order(count: int) -> Spawned:
    """W5: the same below a supervisor, which stops them in reverse order, each dead before the next."""
    return await _spawn(count, ORDERED)


async def _spawn(count: int, owner: Name[DynamicSupervisor] | Name[Supervisor]) -> Spawned:
    async with open_runtime(TREE):
        watch = Stopwatch(count)
        for number in range(count):
            await owner.call(Supervisor.start_child, child(str(number), Idle))
        start, start_cpu = watch.read()
    both, both_cpu = watch.read()
    return Spawned(start, both, start_cpu, both_cpu)


async def restart(count: int) -> float:
    """W6: a call that crashes the actor, then one that its replacement answers."""
    async with adder() as ref:

        async def crash_and_ask() -> None:
            try:
                await ref.call(Adder.crash)
            except ActorCrashed:
                await ref.call(Adder.one)

        return await latency(crash_and_ask, count)


async def bursts(count: int, actors: int) -> float:
    """W7: *count* bursts of 20 casts to one of *actors* live actors after the other; processor time per message.

    Each has answered before, since what an actor makes for its first message is no cost of the next ones.
    """
    async with pool(actors, Adder) as refs:
        for ref in refs:
            await ref.call(Adder.add, 0)
        start = time.process_time()
        for number in range(count):
            ref = refs[number % actors]
            for _ in range(BURST):
                ref.cast(Adder.add, 1)
            await checkpoint()
        last = (count - 1) % actors
        total = await refs[last].call(Adder.add, 0)
        used = time.process_time() - start
        assert total == BURST * len(range(last, count, actors))
        return used / (count * BURST)


@asynccontextmanager
async def pool(count: int, start: Callable[[], A]) -> AsyncIterator[list[Ref[A]]]:
    """So many actors below a dynamic supervisor."""
    async with open_runtime(TREE) as runtime:
        paths = [await POOL.call(DynamicSupervisor.start_child, child(str(n), start)) for n in range(count)]
        yield [cast_to("Ref[A]", runtime.ref(path)) for path in paths]


async def raw_call_processor_time(count: int) -> float:
    start = time.process_time()
    await raw_trio.call(count)
    return (time.process_time() - start) / count


# The rows.


def measure(part: str = "") -> list[Row]:
    """Measure one of `PARTS`, or all of them; about a minute."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return [row for name in ([part] if part else PARTS) for row in PARTS[name]()]


def calls() -> list[Row]:
    one = medians({"raw": _run(raw_trio.call, CALLS), "ours": _run(call, CALLS)}, ROUNDS)
    many = medians({"raw": _run(raw_call_processor_time, CALLS), "ours": _run(call_from_many, CALLS)}, ROUNDS)
    return [
        at_most("W1 call, p50", one["ours"] / one["raw"], 0.80, _us(one)),
        at_most("W1 call, 100 clients, against one raw client", many["ours"] / many["raw"], 0.40, _us(many)),
    ]


def casts() -> list[Row]:
    rows = []
    for name, raw, ours in (("W2 cast", raw_trio.cast, cast), ("W3 cast, 100 to 1", raw_trio.fan_in, fan_in)):
        contenders = {"raw": _run(raw, CASTS), "ours": _run(ours, CASTS)}
        if ours is cast:
            contenders["batched"] = _run(raw_trio.batched_cast, CASTS)
        cost = medians(contenders, ROUNDS)
        rows.append(at_least(name, cost["raw"] / cost["ours"], 8.0, _us(cost)))
        if ours is cast:
            note = f"{cost['ours'] * 1e6:.2f} µs, batched raw {cost['batched'] * 1e6:.2f} µs"
            ratio = cost["batched"] / cost["ours"]
            rows.append(report(f"{name}, against raw channels in batches of 64", ratio, "higher", note))
    return rows


def rings() -> list[Row]:
    cost = medians({"raw": _run(raw_trio.ring, HOPS), "ours": _run(ring, HOPS)}, SLOW_ROUNDS, warm_up=False)
    note = f"{_us(cost)}; {1 / cost['ours']:,.0f} hops/s"
    return [at_least("W4 ring of 1,000, 100 rounds", cost["raw"] / cost["ours"], 1.6, note)]


def spawning() -> list[Row]:
    at_once = _spawning(raw_trio.spawn, spawn)
    in_order = _spawning(raw_trio.spawn_in_order, spawn_in_order)
    name = f"W5 spawn of {ACTORS:,}"
    return [
        _spawn_row(f"{name}, start acknowledged", at_once, "start"),
        _spawn_row(f"{name}, and stop all at once", at_once, "both"),
        _spawn_row(f"{name}, and stop in reverse order", in_order, "both"),
    ]


def _spawning(raw: Spawning, ours: Spawning) -> dict[str, list[Spawned]]:
    contenders = {"raw": partial(trio.run, raw, ACTORS), "ours": partial(trio.run, ours, ACTORS)}
    return costs(contenders, SLOW_ROUNDS, warm_up=False)


def _spawn_row(name: str, found: dict[str, list[Spawned]], part: Literal["start", "both"]) -> Row:
    wall, cpu = (
        {kind: statistics.median(getattr(one, field) for one in rounds) for kind, rounds in found.items()}
        for field in (part, f"{part}_cpu")
    )
    note = f"{_us(wall)}; by processor time {cpu['ours'] / cpu['raw']:.2f}"
    return at_most(name, wall["ours"] / wall["raw"], 1.0, note)


def idle() -> list[Row]:
    ours, raw = (memory.bytes_each(kind, ACTORS) for kind in ("ours", "raw"))
    note = (
        f"{ours.resident:,.0f} bytes, raw task with a channel {raw.resident:,.0f}; "
        f"of these allocated by Python {ours.traced:,.0f} and {raw.traced:,.0f}"
    )
    asked = memory.bytes_each("asked", ACTORS)
    return [
        at_most("W5 kB per idle supervised actor", ours.resident / 1000, 5.0, note),
        report("W5 kB per idle actor that has answered a call", asked.resident / 1000, "lower"),
    ]


def crashes() -> list[Row]:
    cost = medians({"raw": _run(raw_trio.restart, CRASHES), "ours": _run(restart, CRASHES)}, ROUNDS)
    return [at_most("W6 crash to first answer, p50", cost["ours"] / cost["raw"], 0.8, _us(cost))]


def scaling() -> list[Row]:
    contenders = {
        "many": partial(trio.run, bursts, ACTORS, ACTORS),
        "one": partial(trio.run, bursts, ACTORS, 1),
        "raw many": partial(trio.run, raw_trio.bursts, ACTORS // 5, ACTORS),
        "raw one": partial(trio.run, raw_trio.bursts, ACTORS // 5, 1),
    }
    cost = medians(contenders, SLOW_ROUNDS, warm_up=False)
    note = (
        f"{cost['many'] * 1e6:.2f} µs, {cost['one'] * 1e6:.2f} µs; raw trio's "
        f"{cost['raw many'] / cost['raw one']:.2f}, {cost['raw many'] * 1e6:.1f} µs"
    )
    return [
        at_most(f"W7 cast among {ACTORS:,} live actors, against 1", cost["many"] / cost["one"], 1.3, note)
    ]


def unseen() -> list[Row]:
    """Against the barest loop that could serve: what is paid for features that nobody uses."""

    def bare() -> float:
        with bare_loop():
            return trio.run(cast, CASTS // 4)

    found = costs({"bare": bare, "ours": _run(cast, CASTS // 4)}, 40)
    ratio = statistics.median(ours / bare for ours, bare in zip(found["ours"], found["bare"], strict=True))
    note = f"{statistics.median(found['ours']) * 1e6:.2f} µs, bare {statistics.median(found['bare']) * 1e6:.2f} µs"
    return [at_most("cost per cast with all features off, against the barest loop", ratio, 1.05, note)]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "calls": calls,
    "casts": casts,
    "ring": rings,
    "spawn": spawning,
    "memory": idle,
    "crashes": crashes,
    "scaling": scaling,
    "unseen": unseen,
}


def _run(work: Callable[[int], Coroutine[object, object, float]], count: int) -> Measurement:
    return partial(trio.run, work, count)


def _us(cost: dict[str, float]) -> str:
    return f"{cost['ours'] * 1e6:.1f} µs, raw {cost['raw'] * 1e6:.1f} µs"
