"""Waiting in tests: for a condition, an event, a state, a restart. Every wait ends, and says what it saw."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Generic, TypeVar, overload
from weakref import WeakKeyDictionary

import trio

from resprout.runtime import Actor, Event, Life, System
from resprout.testing.opening import account, current_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from resprout.runtime import Address
    from resprout.runtime.cell import Cell

A = TypeVar("A", bound=Actor)
E = TypeVar("E", bound=Event)
T = TypeVar("T")

PATIENCE = 10.0
LOOK_AGAIN = 0.01

_ended: WeakKeyDictionary[Cell, int] = WeakKeyDictionary()  # Generations whose end a test has brought about.


class WaitedInVain(AssertionError):
    """What a test waited for did not come in time. The message shows the tree and its last events."""

    def __init__(self, what: str, seconds: float, opened: System | None) -> None:
        super().__init__(f"{what} did not happen within {seconds:g} s.\n{account(opened)}")
        self.what, self.seconds = what, seconds


@overload
async def wait_until(
    condition: Callable[[], Awaitable[T]], *, within: float = PATIENCE, what: str = ""
) -> T: ...
@overload
async def wait_until(condition: Callable[[], T], *, within: float = PATIENCE, what: str = "") -> T: ...
async def wait_until(condition: Callable[[], object], *, within: float = PATIENCE, what: str = "") -> object:
    """Wait until *condition* returns something true, and return it. It is asked every 10 ms.

    Args:
        condition: A function, plain or async: ``lambda: ref.call(Counter.total)``.
        within: Seconds to wait at most.
        what: What is waited for, in the error; the condition's name by default.

    Raises:
        WaitedInVain: It stayed false.
    """
    return await poll(condition, within, what or _told(condition), current_runtime())


async def poll(condition: Callable[[], object], within: float, what: str, opened: System | None) -> object:
    """See `wait_until`; *opened* is what the error tells of."""
    with trio.move_on_after(positive(within)):
        while True:
            await trio.lowlevel.checkpoint()
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await trio.sleep(LOOK_AGAIN)
    raise WaitedInVain(what, within, opened)


async def wait_for_life(address: Address[A], life: Life, *, within: float = PATIENCE) -> None:
    """Wait until the place of *address* is in this state: ``Life.RUNNING``, ``Life.STOPPED`` and so on.

    Raises:
        WaitedInVain: It did not get there.
    """
    cell = address._find()
    await poll(lambda: cell.life is life, within, f"{cell.path} being {life.value}", cell.system)


async def wait_for_restart(address: Address[A], *, within: float = PATIENCE) -> None:
    """Wait until a later incarnation of *address* runs: later than the one there now, or the one ended last.

    A restart that `crash` or `kill` caused counts, even if it is over by the time this is called.

    Raises:
        WaitedInVain: It was not started again.
    """
    cell = address._find()
    before = _ended.pop(cell, cell.generation if cell.running else cell.generation - 1)
    await poll(
        lambda: cell.life is Life.RUNNING and cell.generation > before,
        within,
        f"a restart of {cell.path}",
        cell.system,
    )


async def wait_for_end(address: Address[A], *, within: float = PATIENCE) -> None:
    """Wait until the present incarnation of *address* is over; at once if there is none.

    Raises:
        WaitedInVain: It lives on.
    """
    cell = address._find()
    incarnation = cell.incarnation
    if incarnation is not None:
        await poll(
            lambda: cell.incarnation is not incarnation, within, f"the end of {cell.path}", cell.system
        )


def note_end(cell: Cell) -> None:
    """A test ends the incarnation there now: `wait_for_restart` waits for one after it."""
    _ended[cell] = cell.generation


class Expected(Generic[E]):
    """The event that `expect_event` waited for, once its block is over."""

    def __init__(self) -> None:
        self._event: E | None = None

    @property
    def event(self) -> E:
        """The event. Raises `LookupError` while the block still runs."""
        if self._event is None:
            raise LookupError("the event has not come yet; read it after the block of expect_event")
        return self._event


@asynccontextmanager
async def expect_event(
    opened: System,
    kind: type[E],
    path: str | None = None,
    *,
    where: Callable[[E], bool] = lambda event: True,
    within: float = PATIENCE,
) -> AsyncIterator[Expected[E]]:
    """Expect an event that is emitted in the block, or after it within *within* seconds.

        async with expect_event(rt, ActorExited, path="app/counter") as expected:
            ref.cast(Counter.add, "not a number")
        assert isinstance(expected.event.reason, Crashed)

    Args:
        opened: The runtime.
        kind: The class of the event.
        path: Of which actor; of any if None.
        where: What else must be true of it.
        within: Seconds to wait for it once the block is over.

    Raises:
        WaitedInVain: No such event came.
    """
    expected, came = Expected[E](), trio.Event()

    def take(event: Event) -> None:
        if (
            isinstance(event, kind)
            and path in (None, event.actor)
            and expected._event is None
            and where(event)
        ):
            expected._event = event
            came.set()

    end = opened.events.subscribe(take)
    try:
        yield expected
        with trio.move_on_after(positive(within)):
            await came.wait()
        if not came.is_set():
            of = f" of {path}" if path is not None else ""
            raise WaitedInVain(f"{kind.__name__}{of}", within, opened)
    finally:
        end()


def positive(within: float) -> float:
    """*within*, or raise `ValueError` if it is no time to wait."""
    if not within > 0:
        raise ValueError(f"a wait needs more than 0 seconds, not {within!r}")
    return within


def _told(condition: Callable[[], object]) -> str:
    name = getattr(condition, "__qualname__", repr(condition))
    where = getattr(condition, "__code__", None)
    return f"{name} (line {where.co_firstlineno})" if where is not None else name
