"""The line of commands and replies of one link: who waits, what is still to be written, what has left.

No input or output here, and no clock: a link drives it.

Invariant: `pending` holds a slot for every command that waits for a reply, oldest first. Its newest
``len(unsent)`` slots belong to the commands in `unsent`, which nobody has begun to write; those before them
to the batch in work. A slot leaves the line with its reply or with the whole link, never before.
"""

import math
from collections import deque
from collections.abc import Sequence

import attrs

from resprout.actors.redis.slot import NoReply, Progress, ReplyOverdue, Slot
from resprout.actors.redis.wire import Wire
from resprout.runtime.errors import Sent


@attrs.frozen
class LinkLimits:
    """Bounds of one link.

    Attributes:
        reply_timeout: Seconds without any byte after which an overdue reply closes the link.
        max_in_flight: Commands written or ready to be written; callers beyond it wait in line.
        max_unsent_bytes: Bytes of commands not yet taken by the system; callers beyond it wait in line.
        max_reply_bytes: Size of one unfinished reply; a larger one closes the link.
        drain_time: Seconds a link that is being closed gives to the replies under way.
        renew_after: Age in seconds from which a link is made anew when its server turns out to be read-only.
        max_side_links: Connections beside the main one, each for a task that must have one for itself:
            commands that wait on the server. Callers beyond it wait in line.
        side_idle: Seconds after which one that nobody uses is closed.
    """

    reply_timeout: float = 5.0
    max_in_flight: int = 10_000
    max_unsent_bytes: int = 16 * 1024 * 1024
    max_reply_bytes: int = 513 * 1024 * 1024  # Redis allows strings of 512 MB.
    drain_time: float = 2.0
    renew_after: float = 5.0
    max_side_links: int = 50
    side_idle: float = 30.0


class Line:
    """Slots and commands of one link; *wire* tells how far the writing has come."""

    def __init__(self, wire: Wire, limits: LinkLimits) -> None:
        self._wire, self._limits = wire, limits
        self._max_pending, self._max_bytes = limits.max_in_flight, limits.max_unsent_bytes
        self.pending: deque[Slot] = deque()
        self.unsent: list[bytes] = []
        self._unsent_bytes = 0
        self.batch: list[bytes] = []
        self._batch_start = 0
        self._backlog: deque[tuple[Sequence[Slot], Sequence[bytes]]] = deque()

    # In: callers.

    def add(self, slot: Slot, command: bytes) -> None:
        """Queue one command, or let its caller wait for room."""
        if (
            len(self.pending) < self._max_pending
            and self._unsent_bytes < self._max_bytes
            and not self._backlog
        ):
            self.pending.append(slot)
            self.unsent.append(command)
            self._unsent_bytes += len(command)
        else:
            self._backlog.append(((slot,), (command,)))

    def add_many(self, slots: Sequence[Slot], commands: Sequence[bytes]) -> None:
        """Queue *commands* with nobody else's in between. The last slot has the waiting task."""
        if self._backlog or not self._has_room():
            self._backlog.append((slots, commands))
        else:
            self.pending.extend(slots)
            self.unsent.extend(commands)
            self._unsent_bytes += sum(map(len, commands))

    def _has_room(self) -> bool:
        return len(self.pending) < self._max_pending and self._unsent_bytes < self._max_bytes

    def refill(self) -> None:
        """Let those in who waited for room; who was cancelled there is never sent."""
        while self._backlog and self._has_room():
            slots, commands = self._backlog.popleft()
            if slots[-1].task is not None:
                self.pending.extend(slots)
                self.unsent.extend(commands)
                self._unsent_bytes += sum(map(len, commands))

    # Out: the writer and the reader.

    def begin_batch(self) -> bytes:
        """All commands that wait to be written, as one piece."""
        self.batch, self.unsent = self.unsent, []
        self._batch_start = self._wire.flushed
        return b"".join(self.batch)

    def end_batch(self, size: int) -> None:
        """The batch of *size* bytes is written."""
        self.batch = []
        self._unsent_bytes -= size
        self.refill()

    def shipped(self, size: int) -> None:
        """The first *size* bytes of `unsent` are written. What is left of a command is as good as unsent."""
        self._unsent_bytes -= size
        if not self._unsent_bytes:
            self.unsent = []
            return
        while size:
            command = self.unsent[0]
            if size < len(command):
                self.unsent[0] = command[size:]
                break
            size -= len(self.unsent.pop(0))

    def answerable(self) -> int:
        """How many slots the server can answer now: it cannot have the rest of the commands whole."""
        unfinished = sum(mark is Sent.NO for mark in self._batch_marks()) if self.batch else 0
        return len(self.pending) - len(self.unsent) - unfinished

    # Time.

    def overdue_at(self, since: float) -> float:
        """When the oldest reply is overdue, if no byte came after *since*; never while nobody waits."""
        if not self.pending:
            return math.inf
        return max(self.pending[0].deadline, since + self._limits.reply_timeout)

    def busy_until(self) -> float:
        """The deadline of the oldest command; minus infinity if there is none."""
        return self.pending[0].deadline if self.pending else -math.inf

    def expire(self, now: float) -> None:
        """Free the callers whose time is over. Their slots stay, unless they still waited for room."""
        late = ReplyOverdue("no reply within the deadline of the call")
        for slot, mark in zip(self.pending, self._marks(), strict=True):
            if slot.task is not None and slot.deadline <= now:
                # What waits to be written will still be written: it cannot be called unsent.
                sent = Sent.YES if mark is Sent.YES else Sent.MAYBE
                slot.wake(NoReply(late, sent, slot.deadline, expired=True))
        for slots, _ in self._backlog:
            if slots[-1].deadline <= now:
                for slot in slots:  # The first of them tells whether any was sent.
                    slot.wake(NoReply(late, Sent.NO, slot.deadline, expired=True))
        self._backlog = deque(entry for entry in self._backlog if entry[0][-1].task is not None)

    def next_deadline(self) -> float:
        """The soonest deadline of a waiting caller."""
        waiting = [slot.deadline for slot in self.pending if slot.task is not None]
        waiting += [slots[-1].deadline for slots, _ in self._backlog]
        return min(waiting, default=math.inf)

    # The end.

    def fail(self, why: Exception) -> None:
        """Wake every caller with what is known of its command. Nothing may be written afterwards."""
        for slot, sent in zip(self.pending, self._marks(), strict=True):
            slot.wake(NoReply(why, sent, slot.deadline))
        for slots, _ in self._backlog:
            for slot in slots:
                slot.wake(NoReply(why, Sent.NO, slot.deadline))
        self.pending.clear()
        self._backlog.clear()
        self.unsent, self.batch = [], []

    def _marks(self) -> list[Sent]:
        """For each pending slot, oldest first, whether its command has left."""
        newest = self._batch_marks() + [Sent.NO] * len(self.unsent)
        older = len(self.pending) - len(newest)
        return [Sent.YES] * older + newest[max(0, -older) :]

    def _batch_marks(self) -> list[Sent]:
        start, wire = self._batch_start, self._wire
        progress = Progress(flushed=wire.flushed - start, attempted=wire.attempted - start)
        return list(progress.marks([len(command) for command in self.batch]))
