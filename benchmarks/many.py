"""`python -m benchmarks.many [COUNT]`: start so many actors in one process, have each answer, stop them all.

100,000 by default, once for each setting of the garbage collector: as Python comes; with rare collections
(`gc.set_threshold`); with the collector off while they start, and what they made frozen (`gc.freeze`), so that
later collections pass over it. Each setting runs in a process of its own.
"""

import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import attrs
import trio

from resprout import Actor, DynamicSupervisor, Name, Ref, child, dynamic_supervisor, open_runtime

COUNT = 100_000
SETTINGS = ("default", "rare", "frozen")
POOL = Name(DynamicSupervisor, "pool")


@attrs.define
class Numbered(Actor):
    number: int

    async def answer(self) -> int:
        return self.number


async def live(count: int, setting: str) -> list[str]:
    """Run them; returns a line per step."""
    lines = []
    clock = time.perf_counter
    if setting == "rare":
        gc.set_threshold(50_000, 20, 100)
    elif setting == "frozen":
        gc.disable()
    async with open_runtime(dynamic_supervisor("pool", name=POOL, shutdown=600.0)) as runtime:
        before = clock()
        for number in range(count):
            await POOL.call(DynamicSupervisor.start_child, child(str(number), _numbered(number)))
        lines.append(f"start  {(clock() - before) / count * 1e6:6.1f} µs each")
        if setting == "frozen":
            gc.freeze()
            gc.enable()
        lines.append(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MB in all")
        before, total = clock(), 0
        for number in range(count):
            ref: Ref[Actor] = runtime.ref(f"pool/{number}")
            total += await ref.call(Numbered.answer)  # type: ignore[arg-type]  # The tree knows only Actor.
        assert total == count * (count - 1) // 2
        lines.append(f"answer {(clock() - before) / count * 1e6:6.1f} µs each")
        before = clock()
    lines.append(f"stop   {(clock() - before) / count * 1e6:6.1f} µs each")
    return lines


def _numbered(number: int) -> Callable[[], Actor]:
    return lambda: Numbered(number)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print("\n".join(trio.run(live, int(sys.argv[1]), sys.argv[2])))
    else:
        for setting in SETTINGS:
            print(f"{setting} garbage collection", flush=True)
            asked = sys.argv[1] if len(sys.argv) > 1 else str(COUNT)
            subprocess.run([sys.executable, "-m", "benchmarks.many", asked, setting], check=True)
