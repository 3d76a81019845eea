"""resprout itself: see `benchmarks.actors`, which this runs on whichever Python is asked for."""

import logging
import sys

import structlog
import trio

from benchmarks import actors as ours
from benchmarks import memory
from benchmarks.peers.workloads import Figures, Workload, run


def _scaling(count: int, actors: int) -> Figures:
    many, one = (trio.run(ours.bursts, count, among) for among in (actors, 1))
    return {"many": many, "one": one}


def _spawn(count: int, actors: int) -> Figures:
    spawned = trio.run(ours.spawn, actors)
    return {"spawn": spawned.start_cpu, "spawn_stop": spawned.both_cpu}


WORKLOADS: dict[str, Workload] = {
    "call": lambda count, _: {"call": trio.run(ours.call, count)},
    "clients": lambda count, _: {"clients": trio.run(ours.call_from_many, count)},
    "cast": lambda count, _: {"cast": trio.run(ours.cast, count)},
    "fan_in": lambda count, _: {"fan_in": trio.run(ours.fan_in, count)},
    "ring": lambda count, actors: {"ring": trio.run(ours.ring, count, actors)},
    "spawn": _spawn,
    "memory": lambda _, actors: {"memory": trio.run(memory.ours, actors, memory.resident)},
    "crash": lambda count, _: {"crash": trio.run(ours.restart, count)},
    "scaling": _scaling,
}

if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    run("resprout", WORKLOADS, sys.argv[1:])
