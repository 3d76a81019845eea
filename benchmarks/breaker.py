"""What the circuit breaker adds to a call, in parts of one `trio.lowlevel.checkpoint()` of the same run.

The happy path: a call through a closed breaker, in the three ways to make one, less the same call without one.
And a call refused by an open one, error raised and caught. Processor time: all of it is our own. The last row
is a breaker with a failure rate, which counts every call.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from benchmarks.compare import Measurement, Row, at_most, medians, report
from resprout import BreakerPolicy, CircuitBreaker, CircuitOpen, FailureRate

CALLS = 20_000
ROUNDS = 9
GOAL = 0.6


async def checkpoint(count: int) -> None:
    """The measure of all: what trio itself takes to let others run once."""
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def nothing() -> None:
    """The call that is guarded."""


async def bare(count: int) -> None:
    """The same call without a breaker."""
    for _ in range(count):
        await nothing()


async def admit(count: int) -> None:
    """``with breaker.admit()``."""
    breaker = CircuitBreaker("closed")
    for _ in range(count):
        with breaker.admit():
            await nothing()


async def async_with(count: int) -> None:
    """``async with breaker``."""
    breaker = CircuitBreaker("closed")
    for _ in range(count):
        async with breaker:
            await nothing()


async def call(count: int) -> None:
    """``await breaker.call(…)``."""
    breaker = CircuitBreaker("closed")
    for _ in range(count):
        await breaker.call(nothing)


def open_breaker() -> CircuitBreaker:
    """One that stays open for longer than any measurement, with an error to tell of."""
    breaker = CircuitBreaker("open", BreakerPolicy(open_for=3600, open_cap=7200))
    for _ in range(5):
        breaker.admit().failed(ConnectionRefusedError("refused"))
    return breaker


async def refused_admit(count: int) -> None:
    """``with breaker.admit()`` while it is open."""
    breaker = open_breaker()
    for _ in range(count):
        try:
            with breaker.admit():
                await nothing()
        except CircuitOpen:
            pass


async def refused_call(count: int) -> None:
    """``await breaker.call(…)`` while it is open."""
    breaker = open_breaker()
    for _ in range(count):
        try:
            await breaker.call(nothing)
        except CircuitOpen:
            continue


async def counted(count: int) -> None:
    """``with breaker.admit()`` where a rule asks for the share of failures."""
    breaker = CircuitBreaker("closed", BreakerPolicy(trips=(FailureRate(0.5),)))
    for _ in range(count):
        with breaker.admit():
            await nothing()


async def timed(work: Callable[[int], Awaitable[None]], count: int) -> float:
    """Processor time of one, in seconds."""
    start = time.process_time()
    await work(count)
    return (time.process_time() - start) / count


def once(work: Callable[[int], Awaitable[None]]) -> Measurement:
    """*work* as something to compare."""
    return partial(trio.run, timed, work, CALLS)


def measure() -> list[Row]:
    """All rows."""
    works = (checkpoint, bare, admit, async_with, call, refused_admit, refused_call, counted)
    cost = medians({work.__name__: once(work) for work in works}, ROUNDS)
    one = cost["checkpoint"]

    def row(name: str, seconds: float) -> Row:
        note = f"{seconds * 1e6:.2f} µs; checkpoint {one * 1e6:.2f} µs"
        return at_most(name, seconds / one, GOAL, note)

    return [
        row("breaker closed: with admit()", cost["admit"] - cost["bare"]),
        row("breaker closed: async with", cost["async_with"] - cost["bare"]),
        row("breaker closed: call()", cost["call"] - cost["bare"]),
        row("breaker open: admit() refuses", cost["refused_admit"]),
        row("breaker open: call() refuses", cost["refused_call"]),
        report("breaker that counts all", (cost["counted"] - cost["bare"]) / one, "lower"),
    ]
