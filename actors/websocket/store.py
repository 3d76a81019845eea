"""What a store of messages promises, and the values that go in and out of it.

A store keeps one ordered stream of messages per client. Each stream has an *epoch*, a random word that changes
only when the store has lost what it knew, and numbers its messages 1, 2, 3, … within it. What a client has
acknowledged is removed, and nothing else is, except into the dead letters or by its own time to live. Every
method is one durable step: when it returns, a power cut does not undo it (as far as the store can promise
that, see `weaknesses`).
"""

from collections.abc import Sequence
from typing import Protocol

import attrs

from resprout.actors.websocket.law import Counts


@attrs.frozen(kw_only=True)
class NewMessage:
    """A message on its way into a store.

    Attributes:
        id: Names the message for ever. A second one with the same id in the same stream is not stored again.
        data: The JSON text the client will get.
        expires_at: Seconds since 1970 after which nobody wants it any more; None for never.
        dedupe: For how many seconds the store remembers the id at least.
    """

    id: str
    data: bytes
    expires_at: float | None = None
    dedupe: float = 86_400.0


@attrs.frozen(kw_only=True)
class Stored:
    """A message that waits in a stream, with its place in the order."""

    seq: int
    id: str
    data: bytes
    expires_at: float | None = None

    @property
    def size(self) -> int:
        """Bytes this message costs in memory, near enough to bound it."""
        return len(self.data) + len(self.id) + MESSAGE_OVERHEAD_BYTES


MESSAGE_OVERHEAD_BYTES = 200


def is_expired(message: Stored, now: float) -> bool:
    """Whether nobody wants the message any more at *now*, in seconds since 1970."""
    return message.expires_at is not None and message.expires_at <= now


@attrs.frozen(kw_only=True)
class Head:
    """Where a stream stands.

    Attributes:
        epoch: Changes only when the store lost what it knew.
        last: Sequence of the newest message ever accepted; 0 if there was none.
        floor: Everything up to this sequence is settled. Equal to *last* when nothing waits.
    """

    epoch: str
    last: int
    floor: int


@attrs.frozen(kw_only=True)
class Failure:
    """One delivery that the client had its chance at: *at* is in seconds since 1970."""

    at: float
    reason: str


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A message that was given up on, with everything needed to find out why and to redrive it."""

    stream: str
    seq: int
    id: str
    data: bytes
    reason: str
    failures: tuple[Failure, ...]
    at: float


class Store(Protocol):
    """Keeps messages until they are settled. All methods may raise a `ServiceError` while the store is away.

    Every method may be repeated when its outcome is unknown: `append` by message id, the others because a
    second run finds nothing left to do.
    """

    @property
    def name(self) -> str:
        """Names the store in errors and events, such as ``redis``."""
        ...

    async def weaknesses(self) -> tuple[str, ...]:
        """What could lose accepted messages, one sentence each, such as ``lost when the process ends``."""
        ...

    async def open(self, stream: str) -> Head:
        """Where *stream* stands; creates it with a fresh epoch if it is new."""
        ...

    async def append(self, stream: str, messages: Sequence[NewMessage]) -> tuple[int, ...]:
        """Accept all *messages* durably, or none, and return their sequences.

        A message whose id the stream knows keeps the sequence it got the first time.

        Raises:
            QueueFull: Too much waits already; nothing was stored.
        """
        ...

    async def read(self, stream: str, epoch: str, after: int, *, count: int, size: int) -> tuple[Stored, ...]:
        """The next messages after sequence *after*, at most *count*, and of *size* bytes unless the first is larger.

        Raises:
            StreamChanged: The stream is not in *epoch*.
        """
        ...

    async def ack(self, stream: str, epoch: str, through: int) -> int:
        """Settle everything up to *through* as received; returns how many messages that were.

        Raises:
            StreamChanged: The stream is not in *epoch*.
        """
        ...

    async def fail(self, stream: str, epoch: str, seq: int, failure: Failure) -> tuple[Failure, ...]:
        """Add to the history of a waiting message; returns the whole history, empty if it no longer waits."""
        ...

    async def bury(self, stream: str, epoch: str, seq: int, reason: str, at: float) -> bool:
        """Move a waiting message to the dead letters with its history; False if it no longer waits."""
        ...

    async def expire(self, now: float) -> tuple[str, ...]:
        """Remove what has reached its time to live by *now* (seconds since 1970); returns the streams touched."""
        ...

    async def dead_letters(self, stream: str, limit: int = 100) -> tuple[DeadLetter, ...]:
        """Dead letters of *stream*, in no promised order."""
        ...

    async def redrive(self, stream: str, ids: Sequence[str] | None = None) -> int:
        """Put dead letters back at the end of their stream, under new sequences and their old ids.

        Args:
            stream: Whose dead letters.
            ids: Which ones; None for all of them. Unknown ids are passed over, so repeating does no harm.

        Returns:
            How many are pending again.
        """
        ...

    async def renew_epoch(self, stream: str, epoch: str, at_least: int) -> Head:
        """Start a new epoch if the stream still is in *epoch*, numbering on after *at_least*.

        For when a client proves that the store forgot messages it had delivered.
        """
        ...

    async def counts(self, stream: str | None = None) -> Counts:
        """The books of one stream or of all; nothing is in flight for a store, all that waits is pending."""
        ...

    async def audit(self) -> Counts:
        """As `counts` of all, but what waits and what is dead is counted one by one: slow, and proves the law."""
        ...
