"""An actor's queue: bounded, first in first out, with a lane of its own for control.

The queue is our own and not a trio memory channel: withdrawn calls must leave it, the oldest message may have
to make room, and what is left at the end must be accounted for, none of which a channel can do. It offers
trio's channel interfaces all the same, so that plain trio code can feed an actor or read a mailbox.

`limit` is what senders compare the length with: the capacity, or 0 while the mailbox is closed or others
already wait for room, so that the usual case costs one comparison and nobody overtakes.
"""

from __future__ import annotations

import enum
from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING, cast

import attrs
import outcome
import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

from resprout.runtime.aside import Aside
from resprout.runtime.message import Call, Message
from resprout.runtime.timers import Beat

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.lowlevel import RaiseCancelT, Task

    from resprout.runtime.orders import ControlOrder
    from resprout.runtime.signals import Continuation, Signal, StopOrder

DEFAULT_CAPACITY = 1_000


class Overflow(enum.Enum):
    """What happens to a message that finds the mailbox full."""

    BLOCK = "block"  # `call` and `send` wait for room; `cast`, which never waits, raises MailboxFull.
    REJECT = "reject"  # The sender gets MailboxFull at once.
    DROP_OLDEST = "drop_oldest"  # The message that has waited longest, not a timer's, becomes a dead letter.
    DROP_NEWEST = "drop_newest"  # The new message becomes a dead letter.


class MailFate(enum.Enum):
    """What becomes of waiting messages when their actor ends. Callers are told, whatever it is."""

    KEEP = "keep"  # They wait for the next incarnation.
    DROP = "drop"  # They are counted and forgotten.
    DEAD_LETTER = "dead_letter"  # They become dead letters.


@attrs.frozen
class MailboxStatistics:
    """What a mailbox holds now and has seen in all."""

    waiting: int
    capacity: int
    blocked_senders: int
    dropped: int


class Mailbox(trio.abc.SendChannel[Message], trio.abc.ReceiveChannel[Message]):
    """Waiting messages of one actor; it outlives the actor's incarnations."""

    __slots__ = (
        "blocked",
        "_withdrawn",
        "aside",
        "bury",
        "capacity",
        "closed",
        "control",
        "dropped",
        "ebb",
        "limit",
        "overflow",
        "owner",
        "queue",
        "sleeper",
    )

    def __init__(
        self,
        capacity: int = DEFAULT_CAPACITY,
        overflow: Overflow = Overflow.BLOCK,
        *,
        owner: str = "",
        bury: Callable[[Message, str], None] = lambda message, why: None,
    ) -> None:
        """*owner* is the path of the actor; *bury* receives each message that will never run, and why."""
        self.owner = owner
        self.capacity = self.limit = capacity
        self.ebb = capacity // 4  # With so many or fewer in the queue those who wait for room are let in.
        self.overflow, self.bury = overflow, bury
        self.queue: deque[Message] = deque()
        # Made when needed, as are `aside` and `blocked`: an empty deque takes 0.7 kB, and most actors need neither.
        self.control: deque[Signal] | tuple[()] = ()
        self.aside: Aside | None = None
        self.sleeper: Task | None = None  # The actor's task, while it waits for mail.
        self.closed = False
        self.dropped = 0
        # Who waits for room, and with what.
        self.blocked: deque[tuple[Task | None, Message]] | tuple[()] = ()
        self._withdrawn = 0

    def wake(self) -> None:
        """Let the actor look at its mail."""
        sleeper = self.sleeper
        if sleeper is not None:
            reschedule(sleeper)  # Raises in a foreign thread: then it must be found asleep by the next one.
            self.sleeper = None

    def signal(self, signal: Signal) -> None:
        """Put *signal* into the control lane, ahead of all mail."""
        self.control = self.control or deque()
        self.control.append(signal)
        self.wake()

    def overrule(self, signal: Signal) -> None:
        """Put *signal* before all others, without waking the actor: it was woken by what caused this."""
        self.control = self.control or deque()
        self.control.appendleft(signal)

    def follow(self, continuation: Continuation) -> None:
        """Put *continuation* before all signals, but behind others that it lets pass."""
        control = self.control = self.control or deque()
        control.insert(sum(1 for _ in takewhile(continuation.is_behind, control)), continuation)

    def take_back(self, signal: Signal) -> None:
        """Remove this very *signal*, if it waits unread."""
        if self.control and any(waiting is signal for waiting in self.control):
            self.control = deque(waiting for waiting in self.control if waiting is not signal)

    def take_order(self) -> StopOrder | ControlOrder | None:
        """The first order in the control lane; notices keep their place in it."""
        for signal in self.control:
            if signal.is_order:
                self.take_back(signal)
                return cast("StopOrder | ControlOrder", signal)
        return None

    def forget_signals(self) -> None:
        """Empty the control lane; whoever waits for one of them is told."""
        forgotten, self.control = self.control, ()
        for signal in forgotten:
            signal.forget(self.owner)

    def put(self, message: Message) -> None:
        """Queue *message* whatever the limit says; for what the runtime itself must deliver."""
        self.queue.append(message)
        self.wake()

    def stash(self, message: Message) -> None:
        """Put *message*, which the actor had taken, aside until `unstash`."""
        self.put_aside().put(message)

    def put_aside(self) -> Aside:
        """What is put aside, made when needed."""
        if self.aside is None:
            self.aside = Aside()
        return self.aside

    def unstash(self) -> None:
        """Put all that was put aside before what waits, in its order, whatever the limit says."""
        aside, self.aside = self.aside, None
        if aside is not None:
            self.queue.extendleft(reversed(aside.all()))
            self.wake()

    def offer(self, message: Message) -> bool:
        """Queue *message* if the limit or the overflow rule allows it; False if its sender has to wait.

        Raises:
            trio.WouldBlock: The overflow rule is to reject.
        """
        if len(self.queue) >= self.limit:
            self._compact()
            self._let_in()  # Those who wait go first; a newcomer may have what room they leave.
        if len(self.queue) < self.limit:
            self.put(message)
            return True
        match self.overflow:
            case Overflow.BLOCK:
                return False
            case Overflow.REJECT:
                self.dropped += 1
                raise trio.WouldBlock
            case Overflow.DROP_NEWEST:
                if type(message) is Call:
                    self.dropped += 1
                    raise trio.WouldBlock  # Its caller is here to be told.
                self._drop(message, "mailbox full, newest dropped")
            case Overflow.DROP_OLDEST:
                self._drop_oldest()
                self.put(message)
        return True

    async def put_in_turn(self, message: Message) -> None:
        """Wait for room behind those who wait already, then queue *message*.

        Raises:
            trio.ClosedResourceError: The mailbox was closed meanwhile.
        """
        entry = self._block(current_task(), message)

        def abort(_: RaiseCancelT) -> Abort:
            self._unblock(entry)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def queue_in_turn(self, call: Call) -> None:
        """As `put_in_turn` for a call: its caller then waits for the answer, and not for room first."""
        self._block(None, call)

    def _block(self, task: Task | None, message: Message) -> tuple[Task | None, Message]:
        entry = (task, message)
        self.blocked = self.blocked or deque()
        self.blocked.append(entry)
        self.limit = 0
        return entry

    def _unblock(self, entry: tuple[Task | None, Message]) -> bool:
        """Take *entry* out of the line, if it stands there."""
        if not self.blocked or entry not in self.blocked:
            return False
        self.blocked.remove(entry)
        self._restore_limit()
        return True

    def holds(self, message: Message) -> bool:
        """Whether *message* waits, in the queue or put aside."""
        return message in self.queue or (self.aside is not None and message in self.aside)

    def discard(self, *messages: Message) -> None:
        """Remove *messages*, if they wait unread or are put aside."""
        for message in messages:
            if self.aside is not None:
                self.aside.drop(message)
            if message in self.queue:
                self.queue.remove(message)
        if self.blocked:
            self.admit()

    def admit(self) -> None:
        """Room was made: let in those who wait for it, in their order.

        Only once three quarters are free, and then many at once: one at a time would cost a task switch a message.
        """
        if len(self.queue) <= self.ebb:
            self._let_in()

    def _let_in(self) -> None:
        while self.blocked and len(self.queue) < self.capacity:
            task, message = self.blocked.popleft()
            self.queue.append(message)
            if task is not None:
                reschedule(task)
        self._restore_limit()

    def call_withdrawn(self, call: Call) -> None:
        """A waiting call was cancelled or expired; its place is freed once half of the queue is such."""
        if self.aside is not None and self.aside.drop(call):
            return
        if self._unblock((None, call)):
            return
        self._withdrawn += 1
        if self._withdrawn * 2 > len(self.queue):
            self._compact()

    def close(self) -> list[Message]:
        """Refuse mail from now on; returns what was waiting."""
        self.unstash()
        self.closed, self.limit = True, 0
        left = self.empty()
        while self.blocked:
            task, message = self.blocked.popleft()
            if task is None:
                left.append(message)
            else:  # Told so here: by the time it runs, the mailbox may be open again, without its message.
                reschedule(task, outcome.Error(trio.ClosedResourceError()))
        self.wake()  # A plain reader learns that nothing will come.
        return left

    def empty(self) -> list[Message]:
        """Take out what waits; those who wait for room go on waiting for their turn."""
        left = [message for message in self.queue if not _is_withdrawn(message)]
        self.queue.clear()
        self._withdrawn = 0
        if self.blocked and not self.closed:
            self.admit()
        return left

    def reopen(self) -> None:
        """Accept mail again: the actor was started anew after it had been stopped."""
        self.closed, self.limit = False, self.capacity

    def _compact(self) -> None:
        if self._withdrawn:
            kept = [message for message in self.queue if not _is_withdrawn(message)]
            self.queue.clear()
            self.queue.extend(kept)
            self._withdrawn = 0
            if self.blocked:
                self.admit()

    def _restore_limit(self) -> None:
        if not self.blocked and not self.closed:
            self.limit = self.capacity

    def _drop_oldest(self) -> None:
        """Of the mail: the actor's own timers do not make room, it may rely on them. They are few."""
        for place, message in enumerate(self.queue):
            if not isinstance(message, Beat):
                del self.queue[place]
                self._drop(message, "mailbox full, oldest dropped")
                return

    def _drop(self, message: Message, why: str) -> None:
        """*message* is not in the queue (any more), so its caller's withdrawal must not count as one there."""
        self.dropped += 1
        withdrawn = self._withdrawn
        self.bury(message, why)
        self._withdrawn = withdrawn

    def __len__(self) -> int:
        return len(self.queue) - self._withdrawn + (len(self.aside) if self.aside is not None else 0)

    def statistics(self) -> MailboxStatistics:
        """The mailbox in numbers."""
        return MailboxStatistics(len(self), self.capacity, len(self.blocked), self.dropped)

    # trio's channel interfaces.

    async def send(self, value: Message) -> None:
        """Queue *value*, waiting for room if the overflow rule is to block."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed:
            raise trio.ClosedResourceError
        if self.offer(value):
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await self.put_in_turn(value)

    def send_nowait(self, value: Message) -> None:
        """Queue *value* or raise `trio.WouldBlock`."""
        if self.closed:
            raise trio.ClosedResourceError
        if not self.offer(value):
            raise trio.WouldBlock

    async def receive(self) -> Message:
        """The next message; waits for one. For a single reader."""
        await trio.lowlevel.checkpoint()
        while True:  # noqa: ASYNC913 - it returns or waits for mail.
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                self.sleeper = current_task()
                await wait_task_rescheduled(self.abort_sleep)

    def receive_nowait(self) -> Message:
        """The next message, or raise `trio.WouldBlock`."""
        while self.queue:
            message = self.queue.popleft()
            if self.blocked:
                self.admit()
            if not _is_withdrawn(message):
                return message
            self._withdrawn -= 1
        raise trio.EndOfChannel if self.closed else trio.WouldBlock

    def skipped_withdrawn(self) -> None:
        """The actor took a withdrawn call from the queue and passed over it."""
        self._withdrawn -= 1

    def abort_sleep(self, _: RaiseCancelT) -> Abort:
        """The actor was cancelled while it waited for mail."""
        self.sleeper = None
        return Abort.SUCCEEDED

    async def aclose(self) -> None:
        """Close the mailbox; what waits becomes dead letters."""
        for message in self.close():
            self.bury(message, "mailbox closed")
        await trio.lowlevel.checkpoint()


def _is_withdrawn(message: Message) -> bool:
    return type(message) is Call and message.task is None
