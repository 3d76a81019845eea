"""What the actors of the scenario `simulated` write down, and what must be true of it at every quiet point."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import attrs

from resprout.runtime import StashFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resprout.runtime import Actor, System
    from resprout.runtime.incarnation import Incarnation
    from resprout.runtime.mailbox import Mailbox


@attrs.define
class Books:
    """Messages by number: which were handled, are put aside, have their answer promised; which errands run."""

    handled: Counter[int] = attrs.field(factory=Counter)
    errands: set[int] = attrs.field(factory=set)
    wrong: dict[str, str] = attrs.field(factory=dict)  # What an actor noticed, by promise.
    _aside: dict[int, Mailbox] = attrs.field(factory=dict)
    _order: dict[int, int] = attrs.field(factory=dict)  # In which they were first put aside.
    _overtaken: dict[int, int] = attrs.field(factory=dict)  # By which later one.
    _promised: dict[int, Incarnation] = attrs.field(factory=dict)

    # What actors tell.

    def begins(self, actor: Actor, number: int = -1) -> None:
        """*actor* begins to work on message *number*."""
        self.check(
            not actor.context._incarnation.suspended, "a suspended actor runs no message", actor.context.path
        )
        self._aside.pop(number, None)

    def done(self, actor: Actor, number: int) -> None:
        """*number* is handled; what was put aside before it should have been, unless its caller has gone."""
        self.handled[number] += 1
        place = self._order.get(number, math.inf)
        mailbox = actor.context.cell.mailbox
        for earlier, where in self._aside.items():
            if where is mailbox and self._order[earlier] < place:
                self._overtaken[earlier] = number

    def put_aside(self, actor: Actor, number: int, put_aside: Callable[[], None]) -> None:
        """*actor* puts *number* aside."""
        try:
            put_aside()
        except StashFull:
            raise
        except BaseException:  # What `stash` leaves the method by.
            self._aside[number] = actor.context.cell.mailbox
            self._order.setdefault(number, len(self._order))
            raise

    def promised(self, actor: Actor, number: int) -> None:
        """*actor* will answer *number* later."""
        self._promised[number] = actor.context._incarnation

    def paid(self, number: int) -> None:
        """It did."""
        self._promised.pop(number, None)

    def caller_gone(self, number: int) -> None:
        """Nobody waits for *number* (any more)."""
        self._aside.pop(number, None)
        self._promised.pop(number, None)

    def check(self, holds: bool, promise: str, what: str) -> None:
        """Write down that *promise* was broken, unless it *holds*."""
        if not holds:
            self.wrong.setdefault(promise, what)

    # What must hold.

    @property
    def invariants(self) -> tuple[Callable[[System], str], ...]:
        """For a `Scenario`."""
        return (
            self.actors_see_nothing_wrong,
            self.no_message_runs_twice,
            self.what_is_put_aside_is_not_lost,
            self.what_is_put_aside_keeps_its_order,
            self.promises_end_with_their_maker,
        )

    def actors_see_nothing_wrong(self, runtime: System) -> str:
        return next((f"{promise}: {what}" for promise, what in self.wrong.items()), "")

    def no_message_runs_twice(self, runtime: System) -> str:
        twice = next((number for number, times in self.handled.items() if times > 1), None)
        return f"message {twice} did" if twice is not None else ""

    def what_is_put_aside_is_not_lost(self, runtime: System) -> str:
        held = {number for mailbox in set(self._aside.values()) for number in _numbers(mailbox)}
        for number, mailbox in self._aside.items():
            if number not in held and not mailbox.closed:
                return f"message {number} to {mailbox.owner} is gone"
        return ""

    def what_is_put_aside_keeps_its_order(self, runtime: System) -> str:
        overtaken, self._overtaken = self._overtaken, {}
        for number, later in overtaken.items():
            if number in self._aside:
                return f"message {later} to {self._aside[number].owner} overtook {number}"
        return ""

    def promises_end_with_their_maker(self, runtime: System) -> str:
        for number, incarnation in self._promised.items():
            if incarnation.over:
                return f"the caller of {number} waits for {incarnation.cell.path}, which has ended"
        return ""


def _numbers(mailbox: Mailbox) -> Iterator[object]:
    """The numbers of the messages that wait, in whatever place."""
    waiting = [*mailbox.queue, *(mailbox.aside.all() if mailbox.aside is not None else ())]
    return (message.args[0] for message in waiting if message.args)
