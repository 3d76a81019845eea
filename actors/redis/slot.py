"""The place of one command in the line of replies, and what is known of it when the link dies."""

from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from typing import Final, TypeVar

import attrs
import outcome
import trio

from resprout.runtime.errors import Phase, Sent
from resprout.runtime.telling import sentence

ResultT = TypeVar("ResultT")


class Slot(outcome.Outcome[object]):
    """Waits for one reply. Replies come in the order of the slots, so a slot is never taken out of the line.

    A slot is also the outcome that wakes its task: one object per command instead of two.

    Attributes:
        task: Who waits; None once nobody does, then the reply is dropped in its turn.
        deadline: Moment at which the reply is overdue.
        reply: What came; an exception is raised in the waiting task.
    """

    __slots__ = ("deadline", "reply", "task")

    def __init__(self, task: trio.lowlevel.Task | None, deadline: float) -> None:
        self.task, self.deadline = task, deadline
        self.reply: object = None

    def __eq__(self, other: object) -> bool:
        return self is other  # Outcomes compare by content; a slot is only itself.

    def wake(self, reply: object) -> None:
        """Keep *reply* and hand it to the waiting task, if there still is one."""
        self.reply = reply
        task = self.task
        if task is not None:
            self.task = None
            trio.lowlevel.reschedule(task, self)

    def abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """The caller was cancelled: it goes, its slot stays."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def unwrap(self) -> object:
        reply = self.reply
        if isinstance(reply, Exception):
            raise reply
        return reply

    def send(self, gen: Generator[ResultT, object, object]) -> ResultT:
        return gen.send(self.unwrap())

    async def asend(self, agen: AsyncGenerator[ResultT, object]) -> ResultT:
        return await agen.asend(self.unwrap())


class NoReply(Exception):
    """No reply came and none will; *sent* says whether the command can have run.

    Attributes:
        why: What ended the link, or the wait.
        deadline: Until when the caller would have waited.
        expired: The caller's own time ran out; the link itself may live on.
    """

    def __init__(self, why: Exception, sent: Sent, deadline: float, *, expired: bool = False) -> None:
        super().__init__(f"no reply: {sentence(why)} (sent: {sent.value})")
        self.why, self.sent, self.deadline, self.expired = why, sent, deadline, expired

    @property
    def phase(self) -> Phase:
        """How far the command had come."""
        return PHASES[self.sent]


PHASES: Final = {Sent.NO: Phase.QUEUE, Sent.MAYBE: Phase.WRITE, Sent.YES: Phase.READ}


class ProtocolViolation(Exception):
    """The server sent what nobody asked for or nobody can read: the link cannot be trusted any more."""


class ReplyOverdue(Exception):
    """The oldest command got no reply in time and nothing else came either."""


class ServerClosed(Exception):
    """The server closed the connection."""


@attrs.frozen
class Progress:
    """How far the writing of one batch of commands has come, in bytes; *flushed* is at most *attempted*."""

    flushed: int
    attempted: int

    def marks(self, sizes: Sequence[int]) -> Iterator[Sent]:
        """For each command of the batch, whether the server can have it whole.

        A command of which any byte has not left cannot run: the server waits for its announced length.

        >>> [sent.value for sent in Progress(flushed=12, attempted=25).marks([10, 10, 10])]
        ['yes', 'maybe', 'no']
        """
        end = 0
        for size in sizes:
            end += size
            if end <= self.flushed:
                yield Sent.YES
            else:
                yield Sent.MAYBE if end <= self.attempted else Sent.NO
