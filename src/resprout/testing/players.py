"""The actors of the scenario `simulated`: plain, in debt, with a stash, a state machine; and what tasks do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from resprout.runtime import Actor, StateMachine

if TYPE_CHECKING:
    from resprout.runtime import Reply
    from resprout.testing.books import Books

OPEN_FOR = 1.0


async def meet(fate: float) -> None:
    """What comes between the question and the answer: a crash, an eternity, a moment, nothing."""
    if fate < 0.05:
        raise ValueError("unlucky")
    if fate < 0.1:
        await trio.sleep(20)
    if fate < 0.6:
        await trio.sleep(fate)


async def errand(books: Books, number: int, fate: float) -> int:
    """What a task does."""
    books.errands.add(number)
    try:
        await meet(fate)
        books.handled[number] += 1
        return number
    finally:
        books.errands.discard(number)


@attrs.define
class Worker(Actor):
    """Works on what it is sent, for a while, in vain or for ever."""

    books: Books

    async def work(self, number: int, fate: float) -> int:
        """Return *number*; *fate*, from 0 to 1, says what comes between."""
        self.books.begins(self, number)
        self.books.done(self, number)
        await meet(fate)
        return number


@attrs.define
class Clerk(Actor):
    """Answers later: by a timer, from a background task, when it is asked again, or never."""

    books: Books
    open: list[tuple[Reply[int], int]] = attrs.field(factory=list)

    async def later(self, number: int, fate: float) -> int:
        """Promise to return *number*."""
        self.books.begins(self, number)
        self.books.done(self, number)
        reply: Reply[int] = self.context.reply_later()
        self.books.promised(self, number)
        for earlier in self.open:
            self._pay(*earlier)
        self.open.clear()
        if fate < 0.3:
            self.context.after(3 * fate, Clerk.pay, reply, number)
        elif fate < 0.6:
            self.context.start_soon(self._pay_in, fate, reply, number)
        elif fate < 0.9:
            self.open.append((reply, number))
        elif fate < 0.95:
            raise ValueError("unlucky")
        return reply.promise

    async def pay(self, reply: Reply[int], number: int) -> None:
        """Answer now."""
        self.books.begins(self)
        self._pay(reply, number)

    async def _pay_in(self, seconds: float, reply: Reply[int], number: int) -> None:
        await trio.sleep(seconds)
        self._pay(reply, number)

    def _pay(self, reply: Reply[int], number: int) -> None:
        reply.send(number)
        self.books.paid(number)


@attrs.define
class Shelf(Actor):
    """Puts aside what comes while it is closed; opens and closes all the time."""

    books: Books
    is_open: bool = False

    async def on_start(self) -> None:
        self.context.every(0.9, Shelf.open)
        self.context.every(1.3, Shelf.close)

    async def shelve(self, number: int, fate: float) -> int:
        """Return *number* once it is open."""
        self.books.begins(self, number)
        if not self.is_open:
            self.books.put_aside(self, number, self.context.stash)
        self.books.done(self, number)
        await meet(fate)
        return number

    async def open(self) -> None:
        """Handle what was put aside."""
        self.books.begins(self)
        self.is_open = True
        self.context.unstash()

    async def close(self) -> None:
        """Put aside what comes from now on."""
        self.books.begins(self)
        self.is_open = False


@attrs.frozen
class Shut:
    """Nobody gets in."""


@attrs.frozen
class Open:
    """*left* may come in; *since* then."""

    left: int
    since: float


@attrs.define
class Gate(StateMachine[Shut | Open]):
    """Lets a few in at a time: the others are postponed. Opens after a while without events, and by an alarm."""

    books: Books
    events: int = 0
    next: str = ""  # The event that was inserted, and must come next.

    def initial(self) -> Shut | Open:
        return Shut()

    async def on_start(self) -> None:
        self.named_timeout("alarm", 3.0, Gate.alarm)

    async def on_enter(self, old: Shut | Open, new: Shut | Open) -> None:
        if isinstance(new, Open):
            self.state_timeout(OPEN_FOR, Gate.close, new)

    async def enter(self, number: int, fate: float) -> int:
        """Return *number* once it is in."""
        self._event("enter", number)
        match self.state:
            case Open(left=left):
                self.books.done(self, number)
                self.become(Open(left - 1, trio.current_time()) if left > 1 else Shut())
                await meet(fate)
                return number
            case Shut():
                self.books.put_aside(self, number, self.postpone)
        raise AssertionError("postpone() does not return")

    async def close(self, meant: Open) -> None:
        """The state timeout."""
        self._event("close")
        self.books.check(self.state == meant, "a state timeout ends with its state", self.context.path)
        self.become(Shut())

    async def bored(self, events: int) -> None:
        """The event timeout."""
        self.books.check(
            events == self.events, "an event timeout ends with the next event", self.context.path
        )
        self._event("bored")
        self._open()

    async def alarm(self) -> None:
        """The named timeout, over and over again."""
        self._event("alarm")
        self.named_timeout("alarm", 3.0, Gate.alarm)
        self.next_event(Gate.echo)
        self.next = "echo"

    async def echo(self) -> None:
        """What was inserted."""
        self._event("echo")
        self._open()

    def _open(self) -> None:
        if self.state == Shut():
            self.become(Open(2, trio.current_time()))

    def _event(self, name: str, number: int = -1) -> None:
        self.books.begins(self, number)
        self.books.check(self.next in ("", name), "an inserted event comes next", self.context.path)
        self.next = ""
        self.events += 1
        self.event_timeout(2.0, Gate.bored, self.events)
