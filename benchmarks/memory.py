"""What an idle actor weighs, measured in a fresh process.

Two figures, each from a process of its own: by how much the resident set grows, which is what a user pays
and is judged, and what Python says it has allocated for them (`tracemalloc`), which leaves out the
allocator's waste. Both without what a first actor brings along: some are started and stopped before.
"""

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import attrs
import trio
import trio.testing

from resprout import Actor, DynamicSupervisor, Name, Ref, child, dynamic_supervisor, open_runtime

Kind = Literal["ours", "asked", "raw"]
PAGE = 4096


@attrs.frozen
class Bytes:
    """Bytes for each of many idle actors."""

    resident: float
    traced: float


def bytes_each(kind: Kind, count: int) -> Bytes:
    """Measure *kind* in two fresh processes."""
    return Bytes(*(_in_fresh_process(kind, how, count) for how in ("resident", "traced")))


def _in_fresh_process(kind: Kind, how: str, count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", kind, how, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


class Idle(Actor):
    async def ping(self) -> None:
        """Answer."""


POOL = Name(DynamicSupervisor, "pool")


async def asked(count: int, used: Callable[[], int]) -> float:
    """Supervised actors, each of which has answered a call."""
    return await ours(count, used, ask=True)


async def ours(count: int, used: Callable[[], int], *, ask: bool = False) -> float:
    """Supervised actors, which have had nothing to do unless they are to be asked."""
    async with open_runtime(dynamic_supervisor("pool", name=POOL)) as runtime:
        for id in ("first", "second"):
            await POOL.call(DynamicSupervisor.start_child, child(id, Idle))
        before = used()
        for number in range(count):
            path = await POOL.call(DynamicSupervisor.start_child, child(str(number), Idle))
            if ask:
                await cast("Ref[Idle]", runtime.ref(path)).call(Idle.ping)
        await trio.testing.wait_all_tasks_blocked()
        return (used() - before) / count


async def raw(count: int, used: Callable[[], int]) -> float:
    """Tasks that wait at a channel of their own."""

    async def task(inbox: trio.MemoryReceiveChannel[int]) -> None:
        async for _ in inbox:
            pass

    mailboxes = []

    def start() -> None:
        mailbox, inbox = trio.open_memory_channel[int](1_000)
        mailboxes.append(mailbox)
        nursery.start_soon(task, inbox)

    async with trio.open_nursery() as nursery:
        start()
        await trio.testing.wait_all_tasks_blocked()
        before = used()
        for _ in range(count):
            start()
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        each = (used() - before) / count
        nursery.cancel_scope.cancel()
    return each


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def traced() -> int:
    """Bytes that Python has allocated."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


if __name__ == "__main__":
    kind, how, count = sys.argv[1:]
    if how == "traced":
        tracemalloc.start()
    kinds = {"ours": ours, "asked": asked, "raw": raw}
    print(trio.run(kinds[kind], int(count), {"resident": resident, "traced": traced}[how]))
