"""What messages, restarts and actors cost, against the same work hand-written on raw trio.

The contract is not the same on both sides: ours has a deadline on every call, notices the callee's death,
bounds the mailbox and keeps the mail over a restart; raw trio does none of it.
"""

import gc
import logging
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import cast as cast_to

import attrs
import structlog
import trio

from benchmarks import raw_trio
from benchmarks.compare import Measurement, Row, at_least, at_most, medians, report
from benchmarks.raw_trio import latency
from resprout import (
    Actor,
    ActorCrashed,
    DynamicSupervisor,
    MailboxFull,
    Name,
    Ref,
    child,
    dynamic_supervisor,
    open_runtime,
    supervisor,
)

ROUNDS = 7
CALLS, CASTS, CRASHES, ACTORS, CLIENTS = 4_000, 40_000, 400, 1_000, 100


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


class Idle(Actor):
    pass


ADDER = Name(Adder, "adder")
POOL = Name(DynamicSupervisor, "pool")
TREE = supervisor(
    "bench",
    child("adder", Adder, name=ADDER),
    dynamic_supervisor("pool", name=POOL),
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
    async with adder() as ref:
        start = time.process_time()
        for _ in range(count):
            try:
                ref.cast(Adder.add, 1)
            except MailboxFull:
                await ref.send(Adder.add, 1)
        total = await ref.call(Adder.add, 0)
        assert total == count
        return (time.process_time() - start) / count


async def restart(count: int) -> float:
    """W6: a call that crashes the actor, then one that its replacement answers."""
    async with adder() as ref:

        async def crash_and_ask() -> None:
            try:
                await ref.call(Adder.crash)
            except ActorCrashed:
                await ref.call(Adder.one)

        return await latency(crash_and_ask, count)


async def spawn(count: int) -> tuple[float, float]:
    """W5: start supervised actors one by one, each start acknowledged; then stop them all in order."""
    async with open_runtime(TREE):
        start = time.perf_counter()
        for number in range(count):
            await POOL.call(DynamicSupervisor.start_child, child(str(number), Idle))
        started = time.perf_counter() - start
    return started / count, (time.perf_counter() - start) / count


def measure() -> list[Row]:
    """Run everything; about 30 seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    one = medians({"raw": _run(raw_trio.call, CALLS), "call": _run(call, CALLS)}, ROUNDS)
    many = medians({"raw": _run(raw_call_processor_time, CALLS), "call": _run(call_from_many, CALLS)}, ROUNDS)
    casts = medians(
        {
            "raw": _run(raw_trio.cast, CASTS),
            "batched": _run(raw_trio.batched_cast, CASTS),
            "cast": _run(cast, CASTS),
        },
        ROUNDS,
    )
    crashes = medians({"raw": _run(raw_trio.restart, CRASHES), "ours": _run(restart, CRASHES)}, ROUNDS)
    return [
        at_most("call", one["call"] / one["raw"], 1.0, _us(one["call"], one["raw"])),
        at_most("call, 100 clients", many["call"] / many["raw"], 0.4, _us(many["call"], many["raw"])),
        at_least("cast", casts["raw"] / casts["cast"], 5.0, _us(casts["cast"], casts["raw"])),
        report(
            "cast, against batched raw channels",
            casts["batched"] / casts["cast"],
            "higher",
            _us(casts["cast"], casts["batched"]),
        ),
        report(
            "crash to first answer",
            crashes["ours"] / crashes["raw"],
            "lower",
            _us(crashes["ours"], crashes["raw"]),
        ),
        *_spawning(),
    ]


def _spawning() -> list[Row]:
    ours: list[tuple[float, float]] = []
    raw: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        for found, work in ((raw, raw_trio.spawn), (ours, spawn)):
            gc.collect()
            found.append(trio.run(work, ACTORS))
    rows = []
    for index, name in enumerate(("spawn, start acknowledged", "spawn and orderly stop")):
        mine = statistics.median(pair[index] for pair in ours)
        theirs = statistics.median(pair[index] for pair in raw)
        rows.append(report(name, mine / theirs, "lower", _us(mine, theirs)))
    return rows


async def raw_call_processor_time(count: int) -> float:
    start = time.process_time()
    await raw_trio.call(count)
    return (time.process_time() - start) / count


def _run(work: Callable[[int], Coroutine[object, object, float]], count: int) -> Measurement:
    return partial(trio.run, work, count)


def _us(ours: float, raw: float) -> str:
    return f"{ours * 1e6:.1f} µs, raw {raw * 1e6:.1f} µs"
