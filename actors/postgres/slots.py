"""The slots of a pool: every connection there is, and every one there could be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from resprout.actors.postgres.pool_rules import MOVES, Census, SlotState, census

if TYPE_CHECKING:
    from resprout.actors.postgres.driver import DriverConnection


class Slot:
    """Room for one connection.

    Attributes:
        number: Its place, from zero.
        state: What it is doing; changed by `move` alone.
        connection: While idle or in use, else None.
        opened: When the connection was, on the trio clock.
        expires: When the connection is too old, on the trio clock.
        retired: It is not used again after its present use.
        since: When the state began.
        holder: The task that has the connection for more than one statement, if any.
        reported: That holder was reported already.
        uses: How often the connection was used, its probes and its opening included.
    """

    __slots__ = (
        "connection",
        "expires",
        "holder",
        "number",
        "opened",
        "reported",
        "retired",
        "since",
        "state",
        "uses",
    )

    def __init__(self, number: int) -> None:
        self.number, self.state = number, SlotState.EMPTY
        self.connection: DriverConnection | None = None
        self.holder: trio.lowlevel.Task | None = None
        self.opened, self.expires, self.since = -math.inf, math.inf, -math.inf
        self.retired = self.reported = False
        self.uses = 0

    def move(self, state: SlotState) -> None:
        """Go on to *state*.

        Raises:
            AssertionError: No way leads there: a bug in the pool.
        """
        if state not in MOVES[self.state]:
            raise AssertionError(f"slot {self.number} cannot go from {self.state.value} to {state.value}")
        self.state = state

    def hold(self, task: trio.lowlevel.Task) -> None:
        """*task* keeps the connection until it gives it back."""
        self.holder, self.since, self.reported = task, trio.current_time(), False

    def is_clean(self) -> bool:
        """Whether the connection can go to somebody else, or to the dump, as it is."""
        connection = self.connection
        return connection is None or connection.is_closed() or not connection.is_dirty()

    def clear(self) -> None:
        """There is no connection here any more."""
        self.connection, self.holder, self.expires, self.retired = None, None, math.inf, False
        self.move(SlotState.EMPTY)

    def __repr__(self) -> str:
        return f"<slot {self.number}: {self.state.value}>"


class Slots:
    """All slots of a pool, and the stack of those with an idle connection, the longest idle first."""

    def __init__(self, size: int) -> None:
        self.all = tuple(Slot(number) for number in range(size))
        self.idle: list[Slot] = []

    def census(self) -> Census:
        """How many are in which state."""
        return census(slot.state for slot in self.all)

    def check(self) -> None:
        """Verify that nothing is lost: states, connections and the stack of idle ones say the same.

        Raises:
            AssertionError: They do not: a bug in the pool.
        """
        for slot in self.all:
            has_connection = slot.state in (SlotState.IDLE, SlotState.IN_USE)
            if has_connection != (slot.connection is not None):
                raise AssertionError(f"{slot!r} has connection {slot.connection!r}")
        idle = [slot for slot in self.all if slot.state is SlotState.IDLE]
        if len(idle) != len(self.idle) or set(idle) != set(self.idle):
            raise AssertionError(f"idle are {idle}, offered are {self.idle}")
