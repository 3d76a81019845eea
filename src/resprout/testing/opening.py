"""A tree for the length of a test, on virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

import trio
from trio.testing import MockClock

from resprout.runtime import System, open_runtime
from resprout.testing.recorder import EventRecorder, tree_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from resprout.runtime import Recipe

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_recorders: WeakKeyDictionary[System, EventRecorder] = WeakKeyDictionary()
_current: ContextVar[System] = ContextVar("resprout-tested-runtime")


@asynccontextmanager
async def runtime(tree: Recipe, *, seed: int = 0, real_time: bool = False) -> AsyncIterator[System]:
    """Run *tree* for the length of the block, as `open_runtime` does, and record what happens.

    Args:
        tree: A supervisor or a single child.
        seed: Seeds the runtime's randomness (jitter), so that a test repeats.
        real_time: Allow trio's real clock, for tests that talk to real servers.

    Raises:
        RuntimeError: The clock is the real one and *real_time* is not given.
        StartFailed: A child did not start.
    """
    if not real_time and not isinstance(trio.lowlevel.current_clock(), MockClock):
        raise RuntimeError(
            "this test runs on the real clock; ask for pytest-trio's autojump_clock fixture, "
            "start it with resprout.testing.run, or give real_time=True"
        )
    async with open_runtime(tree, seed=seed) as opened:
        _recorders[opened] = EventRecorder(opened)
        token = _current.set(opened)
        try:
            yield opened
        finally:
            _current.reset(token)


def recorder_of(opened: System) -> EventRecorder | None:
    """What `runtime` recorded of *opened*; None for a runtime that was opened otherwise."""
    return _recorders.get(opened)


def current_runtime() -> System | None:
    """The runtime whose block this is, if `runtime` opened it."""
    return _current.get(None)


def run(main: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Run `main(*args)` under trio on virtual time: hours pass as soon as nobody has anything to do.

    For tests without pytest-trio, and for trying things out.

    >>> import trio
    >>> async def a_day() -> float:
    ...     await trio.sleep(86_400)
    ...     return trio.current_time()
    >>> run(a_day)
    86400.0
    """
    return trio.run(main, *args, clock=MockClock(autojump_threshold=0))


def account(opened: System | None) -> str:
    """What a reader of a failed wait wants to see: the tree now, and what happened last."""
    if opened is None:
        return "(open the tree with resprout.testing.runtime to see it and its last events here)"
    parts = [f"The tree, at {trio.current_time():.3f} s:\n{tree_text(opened.snapshot())}"]
    recorder = recorder_of(opened)
    if recorder is not None:
        parts.append(f"Its last events:\n{recorder.tail() or '(none)'}")
    return "\n".join(parts)
