"""The workloads for other libraries, and how an adapter is run: one process, one workload, one JSON object.

Only the standard library is imported here: this file runs in the environments of the libraries, on their Python.
An adapter says how its library starts, calls and casts to an actor that adds numbers; the loops around are the
same for all. What an adapter hands out (`call`, `cast`) is called without anything between.
"""

import asyncio
import gc
import json
import logging
import os
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeAlias

CLIENTS, PRODUCERS, BURST, MAILBOX = 100, 100, 20, 1_000

Figures: TypeAlias = dict[str, float]
"""Seconds per operation, or bytes per actor, by the name of the figure."""
Workload: TypeAlias = Callable[[int, int], Figures]
"""Does so many operations, among so many actors where the workload has many."""
Work: TypeAlias = Callable[[], Awaitable[Any]]
Handle: TypeAlias = Any
"""What a library addresses an actor by."""


class Unsupported(Exception):
    """The library cannot do this workload; the text says why."""


def run(package: str, workloads: Mapping[str, Workload], arguments: list[str]) -> NoReturn:
    """Answer `WORKLOAD COUNT ACTORS` with a JSON object on standard output.

    It has either `figures` or `skipped`, the reason. Whatever a library prints goes to standard error.
    """
    if len(arguments) != 3 or arguments[0] not in workloads or not all(n.isdigit() for n in arguments[1:]):
        names = "|".join(workloads)
        sys.stderr.write(f"usage: {names} COUNT ACTORS; got {' '.join(arguments) or 'nothing'}\n")
        sys.exit(2)
    name, count, actors = arguments[0], int(arguments[1]), int(arguments[2])
    logging.disable()  # Nobody pays for telling of the crashes that we cause.
    try:
        with redirect_stdout(sys.stderr):
            figures = workloads[name](count, actors)
    except Unsupported as error:
        answer(package, skipped=str(error))
    answer(package, figures=figures)


def answer(package: str, **found: object) -> NoReturn:
    """Say what was found, and end. Some take minutes to stop what was started, and nobody measures that here."""
    line = json.dumps({"package": package, "version": version(package), **found})
    os.write(1, f"{line}\n".encode())  # Not sys.stdout, which is redirected.
    os._exit(0)


class Peer(ABC):
    """An asynchronous library. asyncio drives it unless `run` and `together` are replaced."""

    package: ClassVar[str]
    cast_waits: ClassVar[bool] = True
    """Whether a cast is awaited."""

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[None]:
        """The library ready to start actors; leaving it stops those that are left."""

    @abstractmethod
    async def start(self, count: int) -> list[Handle]:
        """Start supervised actors that add; all have started on return."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop all that were started, and wait for it."""

    @abstractmethod
    def call(self, actor: Handle) -> Work:
        """Add one, answered by the total."""

    @abstractmethod
    def cast(self, actor: Handle) -> Callable[[], Any]:
        """Add one, not answered."""

    @abstractmethod
    async def crash_and_ask(self, actor: Handle) -> None:
        """Make the actor fail in a handler, then have its replacement answer."""

    async def settle(self) -> None:
        """Wait until the replacement may crash in turn."""
        await self.pause()

    @abstractmethod
    async def ring(self, stations: int, over: Callable[[], None]) -> Callable[[int], Any]:
        """Start a ring of actors; what is returned sends a token with so many hops left. The last calls *over*."""

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *main* while the library is open."""

        async def opened() -> None:
            async with self.opened():
                await main()

        asyncio.run(opened())

    def event(self) -> Any:
        """Something to `set` and to `wait` for."""
        return asyncio.Event()

    async def together(self, work: Callable[[], Coroutine[Any, Any, None]], tasks: int) -> None:
        """Do *work* in so many tasks."""
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(work())

    async def pause(self) -> None:
        """Let others run."""
        await asyncio.sleep(0)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Handle]:
        """A single actor."""
        (actor,) = await self.start(1)
        yield actor
        await self.stop()

    def main(self) -> NoReturn:
        """The whole of an adapter."""
        run(self.package, {name: self._workload(work) for name, work in WORKLOADS.items()}, sys.argv[1:])

    def _workload(self, work: "Callable[[Peer, int, int], Coroutine[Any, Any, Figures]]") -> Workload:
        def workload(count: int, actors: int) -> Figures:
            async def main() -> None:
                answer(self.package, figures=await work(self, count, actors))

            self.run(main)
            raise AssertionError("it ended without an answer")

        return workload


async def call(peer: Peer, count: int, actors: int) -> Figures:
    """W1: one call after the other; the median of the time on the wall."""
    async with peer.one() as actor:
        return {"call": await latency(peer.call(actor), count)}


async def clients(peer: Peer, count: int, actors: int) -> Figures:
    """W1 from 100 clients at once; processor time."""
    async with peer.one() as actor:
        ask = peer.call(actor)

        async def client() -> None:
            for _ in range(count // CLIENTS):
                await ask()

        start = time.process_time()
        await peer.together(client, CLIENTS)
        return {"clients": (time.process_time() - start) / count}


async def cast(peer: Peer, count: int, actors: int) -> Figures:
    """W2: one producer; processor time until the last is handled."""
    return {"cast": await _cast(peer, count, 1)}


async def fan_in(peer: Peer, count: int, actors: int) -> Figures:
    """W3: 100 producers."""
    return {"fan_in": await _cast(peer, count, PRODUCERS)}


async def _cast(peer: Peer, count: int, producers: int) -> float:
    async with peer.one() as actor:
        ask, send = peer.call(actor), peer.cast(actor)

        async def produce() -> None:
            await _send(peer, send, count // producers)

        start = time.process_time()
        await peer.together(produce, producers)
        total = await ask()
        used = time.process_time() - start
    assert total == count + 1, f"{total} of {count + 1} messages arrived"
    return used / count


async def _send(peer: Peer, send: Callable[[], Any], count: int) -> None:
    if peer.cast_waits:
        for _ in range(count):
            await send()
    else:
        for _ in range(count):
            send()


async def ring(peer: Peer, count: int, actors: int) -> Figures:
    """W4: processor time per hop, without the making of the ring."""
    over = peer.event()
    send = await peer.ring(actors, over.set)
    start = time.process_time()
    sent = send(count)
    if peer.cast_waits:
        await sent
    await over.wait()
    used = time.process_time() - start
    await peer.stop()
    return {"ring": used / count}


async def spawn(peer: Peer, count: int, actors: int) -> Figures:
    """W5: start, then stop; processor time."""
    begun = time.process_time()
    await peer.start(actors)
    started = time.process_time()
    await peer.stop()
    ended = time.process_time()
    return {"spawn": (started - begun) / actors, "spawn_stop": (ended - begun) / actors}


async def memory(peer: Peer, count: int, actors: int) -> Figures:
    """W5: by how much the resident set grows with each idle actor."""
    await peer.start(2)
    before = resident()
    kept = await peer.start(actors)
    await peer.pause()
    grown = resident() - before
    assert len(kept) == actors
    return {"memory": grown / actors}


async def crash(peer: Peer, count: int, actors: int) -> Figures:
    """W6: crash to first answer; the median of the time on the wall."""
    async with peer.one() as actor:
        return {"crash": await latency(lambda: peer.crash_and_ask(actor), count, peer.settle)}


async def scaling(peer: Peer, count: int, actors: int) -> Figures:
    """W7: bursts of 20 to one of many live actors after the other, against as many to a single one."""
    one = await _bursts(peer, count, 1)
    await peer.stop()
    return {"one": one, "many": await _bursts(peer, count, actors)}


async def _bursts(peer: Peer, count: int, actors: int) -> float:
    handles = await peer.start(actors)
    sends = [peer.cast(handle) for handle in handles]
    start = time.process_time()
    for number in range(count):
        await _send(peer, sends[number % actors], BURST)
        await peer.pause()
    last = (count - 1) % actors
    total = await peer.call(handles[last])()
    used = time.process_time() - start
    sent = BURST * len(range(last, count, actors))
    assert total == sent + 1, f"{total - 1} of {sent} messages arrived at the last actor"
    return used / (count * BURST)


WORKLOADS: dict[str, Callable[[Peer, int, int], Coroutine[Any, Any, Figures]]] = {
    "call": call,
    "clients": clients,
    "cast": cast,
    "fan_in": fan_in,
    "ring": ring,
    "spawn": spawn,
    "memory": memory,
    "crash": crash,
    "scaling": scaling,
}


async def latency(work: Work, count: int, between: Work | None = None) -> float:
    """Median seconds of one *work*; what is done *between* two does not count."""
    clock, times = time.perf_counter, []
    for _ in range(count):
        start = clock()
        await work()
        times.append(clock() - start)
        if between is not None:
            await between()
    return statistics.median(times)


def sync_latency(work: Callable[[], object], count: int) -> float:
    """The same of what is not awaited."""
    clock, times = time.perf_counter, []
    for _ in range(count):
        start = clock()
        work()
        times.append(clock() - start)
    return statistics.median(times)


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
