"""pykka: a thread for each actor; casts do not wait, mailboxes without a bound, a deadline only where asked for.

It does not supervise: an error goes to the caller of an ask, and the actor carries on. Clients and producers are
threads too.
"""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pykka import ActorRef, ActorRegistry, ThreadingActor

from benchmarks.peers.workloads import (
    BURST,
    CLIENTS,
    PRODUCERS,
    Figures,
    Unsupported,
    Workload,
    resident,
    run,
    sync_latency,
)


class Adder(ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: int) -> int:
        self.total += message
        return self.total


class Station(ThreadingActor):
    following: ActorRef
    over: Callable[[], None]

    def on_receive(self, message: Any) -> None:
        if isinstance(message, tuple):
            self.following, self.over = message
        elif message:
            self.following.tell(message - 1)
        else:
            self.over()


def call(count: int, actors: int) -> Figures:
    ref = Adder.start()
    return {"call": sync_latency(lambda: ref.ask(1), count)}


def clients(count: int, actors: int) -> Figures:
    ref = Adder.start()

    def client() -> None:
        for _ in range(count // CLIENTS):
            ref.ask(1)

    start = time.process_time()
    _together(client, CLIENTS)
    return {"clients": (time.process_time() - start) / count}


def cast(count: int, actors: int) -> Figures:
    return {"cast": _cast(count, 1)}


def fan_in(count: int, actors: int) -> Figures:
    return {"fan_in": _cast(count, PRODUCERS)}


def _cast(count: int, producers: int) -> float:
    ref = Adder.start()

    def produce() -> None:
        for _ in range(count // producers):
            ref.tell(1)

    start = time.process_time()
    _together(produce, producers)
    total = ref.ask(0)
    used = time.process_time() - start
    assert total == count
    return used / count


def _together(work: Callable[[], None], threads: int) -> None:
    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def ring(count: int, actors: int) -> Figures:
    over = threading.Event()
    refs = [Station.start() for _ in range(actors)]
    for number, ref in enumerate(refs):
        ref.ask((refs[(number + 1) % actors], over.set))
    start = time.process_time()
    refs[0].tell(count)
    over.wait()
    return {"ring": (time.process_time() - start) / count}


def spawn(count: int, actors: int) -> Figures:
    begun = time.process_time()
    for _ in range(actors):
        Adder.start()
    started = time.process_time()
    ActorRegistry.stop_all()
    ended = time.process_time()
    return {"spawn": (started - begun) / actors, "spawn_stop": (ended - begun) / actors}


def memory(count: int, actors: int) -> Figures:
    kept = [Adder.start() for _ in range(2)]
    before = resident()
    kept += [Adder.start() for _ in range(actors)]
    return {"memory": (resident() - before) / actors}


def crash(count: int, actors: int) -> Figures:
    raise Unsupported("it does not supervise: the actor carries on after an error")


def scaling(count: int, actors: int) -> Figures:
    return {"many": _bursts(count, actors), "one": _bursts(count, 1)}


def _bursts(count: int, actors: int) -> float:
    """Each actor is asked at the end: threads take their own time, and all messages have to be handled."""
    refs = [Adder.start() for _ in range(actors)]
    start = time.process_time()
    for number in range(count):
        ref = refs[number % actors]
        for _ in range(BURST):
            ref.tell(1)
        time.sleep(0)
    for ref in refs[: min(count, actors)]:
        assert ref.ask(0)
    used = time.process_time() - start
    ActorRegistry.stop_all()
    return used / (count * BURST)


WORKLOADS: dict[str, Workload] = {
    work.__name__: work for work in (call, clients, cast, fan_in, ring, spawn, memory, crash, scaling)
}


if __name__ == "__main__":
    run("pykka", WORKLOADS, sys.argv[1:])
