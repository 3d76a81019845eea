"""Ends that tests bring about: a crash with an error of their choice, a kill."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from resprout.runtime import Actor, Crashed, Killed
from resprout.testing.opening import account
from resprout.testing.waiting import PATIENCE, note_end, wait_for_end

if TYPE_CHECKING:
    from resprout.runtime import Address, ExitReason

A = TypeVar("A", bound=Actor)


class InjectedCrash(Exception):
    """Raised in an actor by a test that gave no error of its own."""


async def crash(address: Address[A], error: Exception | None = None, *, within: float = PATIENCE) -> None:
    """Crash the actor with *error*, whatever it is doing, as if its handler had raised; return once it is over.

    It is cancelled where it stands, its `on_stop` runs, and its supervisor decides what follows:
    see `wait_for_restart`.

    Raises:
        RuntimeError: No incarnation is there to be crashed.
        WaitedInVain: It did not end, for instance because it shields itself.
    """
    await _strike(address, Crashed(error if error is not None else InjectedCrash("by a test")), within)


async def kill(address: Address[A], *, within: float = PATIENCE) -> None:
    """Kill the actor and all below it: cancelled at once, without `on_stop`; return once it is over.

    Raises:
        RuntimeError: No incarnation is there to be killed.
        WaitedInVain: It did not end, for instance because it shields itself.
    """
    await _strike(address, Killed("by a test"), within)


async def _strike(address: Address[A], fate: ExitReason, within: float) -> None:
    cell = address._find()
    if cell.incarnation is None or not cell.running:
        raise RuntimeError(
            f"{cell.path} is {cell.life.value}: nobody is there to end.\n{account(cell.system)}"
        )
    note_end(cell)
    if isinstance(fate, Killed):
        cell.kill(fate.detail)
    else:
        cell.strike(fate)
    await wait_for_end(address, within=within)
