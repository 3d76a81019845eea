"""What a simulation will do to a tree: decisions drawn from a seed, a part of which can be replayed. Pure."""

from __future__ import annotations

import enum
import random
from typing import TYPE_CHECKING, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Fault(enum.Enum):
    """What can be done to the actor at a path."""

    CRASH = "crash"  # Whatever it is doing.
    KILL = "kill"  # With all below.
    FAIL_START = "fail_start"  # Its next `on_start` raises.
    SLOW_START = "slow_start"  # Its next `on_start` takes seconds longer.
    HANG_START = "hang_start"  # Its next `on_start` never returns.
    LOSE_CAST = "lose_cast"  # The next cast to it is lost.
    DELAY_CAST = "delay_cast"  # The next cast to it arrives seconds later, after those sent since.
    LOSE_CALL = "lose_call"  # The next call to it never arrives: its caller hears nothing until its deadline.
    DELAY_CALL = "delay_call"  # The next call to it arrives seconds later.
    LOSE_REPLY = "lose_reply"  # The next call to it runs, and its result never arrives.
    SUSPEND = "suspend"  # It is suspended by an operator, and resumed seconds later.
    ACT = "act"  # No fault: one of the scenario's actions begins.


LASTING = frozenset((Fault.SLOW_START, Fault.DELAY_CAST, Fault.DELAY_CALL, Fault.SUSPEND))


@attrs.frozen
class Faults:
    """How often each fault strikes, in times per virtual second and tree."""

    crash: float = 0.4
    kill: float = 0.15
    fail_start: float = 0.2
    slow_start: float = 0.2
    hang_start: float = 0.05
    lose_cast: float = 0.3
    delay_cast: float = 0.3
    lose_call: float = 0.1
    delay_call: float = 0.2
    lose_reply: float = 0.1
    suspend: float = 0.2
    actions: float = 12.0


@attrs.frozen
class Decision:
    """At the moment *at*, in virtual seconds: *fault* at *path*; or the action *path*, with dice of its own."""

    at: float
    fault: Fault
    path: str
    seconds: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        more = f" ({self.seconds:.3f} s)" if self.seconds else ""
        return f"{self.at:9.3f} s  {self.fault.value:<10}  {self.path}{more}"


@attrs.frozen
class Plan:
    """One run: *seed* makes the tree and orders trio's tasks, *decisions* strike, children *without* are left out."""

    seed: int
    length: float
    decisions: tuple[Decision, ...]
    without: frozenset[str] = frozenset()


def draw(seed: int, length: float, faults: Faults, paths: Sequence[str], actions: Sequence[str]) -> Plan:
    """The plan of *seed*. A random part of the kinds of faults is left out, so that the others meet more often."""
    dice = random.Random(f"plan {seed}")
    decisions: list[Decision] = []
    for fault in Fault:
        rate = faults.actions if fault is Fault.ACT else getattr(faults, fault.value)
        targets = actions if fault is Fault.ACT else paths
        if not targets or not rate or (fault is not Fault.ACT and dice.random() < 0.25):
            continue
        at = dice.expovariate(rate)
        while at < length:
            seconds = dice.uniform(0, 3) if fault in LASTING else 0.0
            decisions.append(Decision(at, fault, dice.choice(targets), seconds, dice.getrandbits(32)))
            at += dice.expovariate(rate)
    return Plan(seed, length, tuple(sorted(decisions, key=lambda decision: decision.at)))


def smallest(decisions: Sequence[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """Delta debugging: a part of *decisions* that still *fails*, and none of whose single decisions can go.

    >>> smallest(list(range(20)), lambda part: {3, 17} <= set(part))
    (3, 17)
    """
    kept, pieces = tuple(decisions), 2
    while kept:
        size = max(1, -(-len(kept) // pieces))
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if fails(rest):
                kept, pieces = rest, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(kept), pieces * 2)
    return kept
