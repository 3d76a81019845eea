"""The baseline: see `benchmarks.raw_trio`, which this runs on whichever Python is asked for."""

import sys

import trio

from benchmarks import memory, raw_trio
from benchmarks.actors import raw_call_processor_time
from benchmarks.peers.workloads import Figures, Workload, run


def _scaling(count: int, actors: int) -> Figures:
    many, one = (trio.run(raw_trio.bursts, count, tasks) for tasks in (actors, 1))
    return {"many": many, "one": one}


def _spawn(count: int, actors: int) -> Figures:
    spawned = trio.run(raw_trio.spawn, actors)
    return {"spawn": spawned.start_cpu, "spawn_stop": spawned.both_cpu}


WORKLOADS: dict[str, Workload] = {
    "call": lambda count, _: {"call": trio.run(raw_trio.call, count)},
    "clients": lambda count, _: {"clients": trio.run(raw_call_processor_time, count)},  # One client.
    "cast": lambda count, _: {"cast": trio.run(raw_trio.cast, count)},
    "fan_in": lambda count, _: {"fan_in": trio.run(raw_trio.fan_in, count)},
    "ring": lambda count, actors: {"ring": trio.run(raw_trio.ring, count, actors)},
    "spawn": _spawn,
    "memory": lambda _, actors: {"memory": trio.run(memory.raw, actors, memory.resident)},
    "crash": lambda count, _: {"crash": trio.run(raw_trio.restart, count)},
    "scaling": _scaling,
}

if __name__ == "__main__":
    run("trio", WORKLOADS, sys.argv[1:])
