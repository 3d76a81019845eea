"""Who decides what follows an end that nobody ordered, and what may follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from resprout.runtime.exits import Crashed, Killed, Shutdown
from resprout.runtime.ref import Ref
from resprout.runtime.signals import ChildExit

if TYPE_CHECKING:
    from resprout.runtime.cell import Cell
    from resprout.runtime.exits import ExitReason


OUT_OF_RESTARTS = Shutdown("reached max restart intensity")
"""How a supervisor ends that gives up: cleanly, as in OTP, so that its own supervisor decides what follows."""


def is_failure(reason: ExitReason) -> bool:
    """Whether a tree whose root ended by itself with *reason* gave up."""
    return isinstance(reason, Crashed | Killed) or reason == OUT_OF_RESTARTS


@attrs.frozen
class Restart:
    """Start the next incarnation after *delay* seconds."""

    delay: float = 0.0


@attrs.frozen
class Leave:
    """Start nothing now. *final*: refuse mail from now on; otherwise the place waits to be started again."""

    final: bool = True


Verdict: TypeAlias = Restart | Leave


class Owner(Protocol):
    """A supervisor, an actor that spawned a child, or the runtime."""

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        """*cell*'s incarnation ended with *reason*. Must not wait; raising crashes the owner."""
        raise LookupError


class Spawner:
    """Owns the children that an actor spawned: none is restarted, its actor is told."""

    def __init__(self, parent: Cell) -> None:
        self._parent = parent

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        """See `Owner`."""
        self._parent.drop_child(cell)
        self._parent.mailbox.signal(ChildExit(ref=Ref(cell), reason=reason))
        return Leave(final=True)
