"""Where producers and sessions of one process meet: the store, who is connected, and the bounds.

Nothing here waits for anything but the store, and all of it runs in the caller's task. What matters is in the
store; a hub can be thrown away at any moment, and the sessions move on to the next one.
"""

import math
import time
import uuid
from collections.abc import Callable
from typing import Final, Protocol

import attrs
import msgspec
import trio

from resprout.actors.websocket.delivery import DeliveryPolicy
from resprout.actors.websocket.events import StoreAway
from resprout.actors.websocket.law import Counts
from resprout.actors.websocket.memory import MemoryPolicy, allowance
from resprout.actors.websocket.store import NewMessage, Store
from resprout.actors.websocket.wire import MAX_FRAME_BYTES, check_data
from resprout.runtime.events import Event

FRAME_BYTES_PER_NAME_BYTE: Final = 6
"""JSON writes a control character as six."""


@attrs.frozen(kw_only=True)
class QueuePolicy:
    """Bounds and habits of a queue. Durations in seconds.

    Attributes:
        delivery: How each client is served.
        memory: What all sessions together may hold.
        max_message_bytes: The JSON text of one message.
        max_name_bytes: The name of a stream, and the id of a message.
        dedupe: How long an id given by the producer is remembered.
        dedupe_made_id: How long an id made by us is remembered; only our own repetitions need it.
        poll: How often a session looks into the store without a hint, for messages of other processes.
        sweep: How often messages beyond their time to live are removed.
    """

    delivery: DeliveryPolicy = DeliveryPolicy()
    memory: MemoryPolicy = MemoryPolicy()
    max_message_bytes: int = 256_000
    max_name_bytes: int = 256
    dedupe: float = 86_400.0
    dedupe_made_id: float = 300.0
    poll: float = 5.0
    sweep: float = 5.0

    def __attrs_post_init__(self) -> None:
        if self.max_message_bytes + FRAME_BYTES_PER_NAME_BYTE * self.max_name_bytes + 100 > MAX_FRAME_BYTES:
            raise ValueError(
                f"max_message_bytes and max_name_bytes must fit a frame of {MAX_FRAME_BYTES} bytes"
            )
        if not (self.poll > 0 and self.sweep > 0):
            raise ValueError(f"poll and sweep must be more than 0 s: {self}")


class Listener(Protocol):
    """What a hub wants of a session."""

    def more(self) -> None:
        """There may be more to deliver, or the hub has changed."""

    def supersede(self) -> None:
        """Another session of the same stream has taken over."""


@attrs.define(eq=False)
class Subscription:
    """One session's place in a hub.

    Attributes:
        hub: The hub.
        stream: Whose messages the session gets.
        listener: The session.
        arrived: When its client came, on the trio clock.
        size: Bytes it holds, and those it has reserved for what it is reading.
        in_flight: Messages that are with the client.
    """

    hub: "Hub"
    stream: str
    listener: Listener
    arrived: float
    size: int = 0
    in_flight: int = 0

    def update(self, size: int, in_flight: int) -> None:
        """Tell what the session holds and has reserved now."""
        self.hub.held += size - self.size
        self.hub.in_flight += in_flight - self.in_flight
        freed = size < self.size
        self.size, self.in_flight = size, in_flight
        if freed:
            self.hub.room_again()

    def allowance(self) -> int:
        """Bytes the session may load now."""
        policy = self.hub.policy
        return allowance(self.size, self.hub.held, policy.delivery.window_bytes, policy.memory)

    def close(self) -> None:
        """The session is over; what it held is pending again."""
        self.update(0, 0)
        self.hub.forget(self)


@attrs.define(eq=False)
class Hub:
    """Accepts messages and wakes the sessions that deliver them.

    Attributes:
        store: Where the messages are.
        policy: Bounds.
        emit: Takes events.
        actor: Path of the actor this belongs to, for events.
        wall: The time in seconds since 1970.
    """

    store: Store
    policy: QueuePolicy = attrs.field(factory=QueuePolicy)
    emit: Callable[[Event], None] = attrs.field(default=lambda event: None)
    actor: str = "queue"
    wall: Callable[[], float] = time.time
    held: int = attrs.field(default=0, init=False)
    in_flight: int = attrs.field(default=0, init=False)
    _next_report: float = attrs.field(default=-math.inf, init=False)
    _sessions: dict[str, Subscription] = attrs.field(factory=dict, init=False)
    _starved: set[Subscription] = attrs.field(factory=set, init=False)

    async def enqueue(
        self, stream: str, data: object, *, id: str | None = None, expires_in: float | None = None
    ) -> int:
        """Accept *data* for the client of *stream*; returns its sequence once the store has it for good.

        Args:
            stream: Names the client's stream; made if it is new.
            data: Whatever JSON can say; `msgspec.Raw` for text that is JSON already.
            id: Names the message. With one, repeating the call stores nothing twice and returns the same.
            expires_in: Seconds after which nobody wants it any more; None for never.

        Raises:
            QueueFull: Too much waits already.
            Unavailable: The store is away; nothing was stored.
            OutcomeUnknown: The store went away in the middle; repeat with the same *id*.
            ValueError: A name or the message is too long, or *expires_in* is not positive.
        """
        message = self._message(stream, data, id, expires_in)
        (seq,) = await self.store.append(stream, (message,))
        self.hint(stream)
        return seq

    def hint(self, stream: str) -> None:
        """Tell the session of *stream*, if there is one, to look into the store."""
        session = self._sessions.get(stream)
        if session is not None:
            session.listener.more()

    async def redrive(self, stream: str, *ids: str) -> int:
        """Put dead letters of *stream* back at its end: those with *ids*, or all; returns how many."""
        count = await self.store.redrive(stream, ids or None)
        self.hint(stream)
        return count

    async def counts(self, stream: str | None = None) -> Counts:
        """The books of one stream or of all, with what is with clients now."""
        books = await self.store.counts(stream)
        return books.with_in_flight(self._in_flight(stream))

    async def audit(self) -> Counts:
        """As `counts` of all, with what waits counted one by one; `check_conservation` then proves the law."""
        books = await self.store.audit()
        return books.with_in_flight(self.in_flight)

    async def sweep(self) -> None:
        """Remove what has reached its time to live."""
        for stream in await self.store.expire(self.wall()):
            self.hint(stream)

    def subscribe(self, stream: str, listener: Listener, arrived: float) -> Subscription:
        """Make the session of the client that *arrived* last the one of *stream*; the other is superseded.

        Sessions may get here in another order, after an outage or a change of hubs. An old one, whose client has
        long come back on a new connection, would then tell that client that somebody else took over.
        """
        session, other = Subscription(self, stream, listener, arrived), self._sessions.get(stream)
        if other is not None and other.arrived > arrived:
            listener.supersede()
            return session
        self._sessions[stream] = session
        if other is not None:
            other.listener.supersede()
        return session

    def forget(self, session: Subscription) -> None:
        """*session* is over."""
        self._starved.discard(session)
        if self._sessions.get(session.stream) is session:
            del self._sessions[session.stream]

    def starve(self, session: Subscription) -> None:
        """Wake *session* when there is room in memory again."""
        self._starved.add(session)

    def room_again(self) -> None:
        """Some memory was given back."""
        starved, self._starved = self._starved, set()
        for session in starved:
            session.listener.more()

    def store_away(self, error: Exception) -> None:
        """Report that the store could not be used: once a second, however many sessions find out."""
        now = trio.current_time()
        if now >= self._next_report:
            self._next_report = now + 1.0
            self.emit(StoreAway(actor=self.actor, store=self.store.name, error=error))

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """Facts for the tree's snapshot."""
        return {
            "store": self.store.name,
            "sessions": self.sessions,
            "in_flight": self.in_flight,
            "bytes": self.held,
        }

    def close(self) -> None:
        """Nothing is delivered through this hub any more; its sessions look for the next one."""
        for session in self._sessions.values():
            session.listener.more()

    @property
    def sessions(self) -> int:
        """How many clients are connected."""
        return len(self._sessions)

    def _in_flight(self, stream: str | None) -> int:
        if stream is None:
            return self.in_flight
        session = self._sessions.get(stream)
        return session.in_flight if session is not None else 0

    def _message(self, stream: str, data: object, id: str | None, expires_in: float | None) -> NewMessage:
        self._check_name("stream", stream)
        encoded = encoded_data(data)
        if len(encoded) > self.policy.max_message_bytes:
            raise ValueError(
                f"a message may have {self.policy.max_message_bytes} bytes of JSON, not {len(encoded)}"
            )
        if expires_in is not None and not expires_in > 0:
            raise ValueError(f"expires_in must be more than 0 seconds, not {expires_in!r}")
        if id is not None:
            self._check_name("id", id)
        return NewMessage(
            id=uuid.uuid4().hex if id is None else id,
            data=encoded,
            expires_at=None if expires_in is None else self.wall() + expires_in,
            dedupe=self.policy.dedupe_made_id if id is None else self.policy.dedupe,
        )

    def _check_name(self, what: str, name: str) -> None:
        if not 0 < len(name.encode()) <= self.policy.max_name_bytes:
            raise ValueError(f"the {what} must have 1 to {self.policy.max_name_bytes} bytes, not {name!r}")


def encoded_data(data: object) -> bytes:
    """*data* as JSON that every client can read.

    Raises:
        ValueError: It has none.
        TypeError: The same, because of a type.
    """
    try:
        encoded = msgspec.json.encode(data)
    except RecursionError as error:
        raise ValueError("a message must be JSON that is not nested so deeply") from error
    check_data(encoded)
    return encoded
