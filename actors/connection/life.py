"""One attempt to connect, and what became of it."""

from typing import Generic

import attrs
import trio

from resprout.actors.connection.link import L


@attrs.define(eq=False)
class Life(Generic[L]):
    """One attempt and the life of the link it leads to.

    Attributes:
        nursery: Where it runs.
        heir_of: The live link that it is to take over from, if it is to.
        former: The life of that link.
        attempt: Ends the attempt, if it is to take over.
        decided: The attempt is over.
        over: The keeper need not wait for it any more: it has ended, or another took over.
        ended: Nothing of it is left.
        failure: Why the attempt to take over failed.
        retired: Another has taken over.
    """

    nursery: trio.Nursery
    heir_of: L | None = None
    former: "Life[L] | None" = None
    attempt: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    decided: trio.Event = attrs.field(factory=trio.Event)
    over: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    failure: Exception | None = None
    retired: bool = False
