"""Between the store and one client: loads what comes next, remembers what is with the client, settles answers.

The rules are in `delivery` and `resume`; here is the I/O with the store. The store may go away at any time:
then every step is tried again for as long as the session lives, and the client notices a pause, no more.
"""

import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar, assert_never

import msgspec
import trio

from resprout.actors.websocket import delivery
from resprout.actors.websocket.bell import Bell
from resprout.actors.websocket.delivery import Bury, DeliveryPolicy, Gone, Retry, Window
from resprout.actors.websocket.events import (
    MessageDied,
    MessageFailed,
    SessionEnded,
    SessionStarted,
    StreamReset,
)
from resprout.actors.websocket.hub import Hub, Subscription
from resprout.actors.websocket.opening import open_stream
from resprout.actors.websocket.resume import Position
from resprout.actors.websocket.store import Failure, Stored, is_expired
from resprout.actors.websocket.wire import FromServer, Gap, Message, Nack
from resprout.runtime.backoff import Backoff, delay
from resprout.runtime.errors import ServiceError

T = TypeVar("T")


class Courier:
    """One session's messages.

    Attributes:
        stream: Whose messages.
        window: Those in memory.
        to_write: Rings when there may be something to send.
        to_watch: Rings when a lease began.
    """

    def __init__(
        self, hub: Callable[[], Hub], stream: str, arrived: float, retry: Backoff, rng: random.Random
    ) -> None:
        self.stream, self._arrived = stream, arrived
        self.window = Window(acked=0)
        self.to_write, self.to_watch = Bell(), Bell()
        self._to_load, self._to_settle = Bell(), Bell()
        self._hub, self._retry, self._random = hub, retry, rng
        self._epoch = ""
        self._settled = self._owed = (
            0  # The store knows of acks up to _settled; of _owed messages it does not.
        )
        self._reserved = 0
        self._supersede: Callable[[], None] = _nothing
        self._subscription: Subscription | None = None
        self._rejected: deque[tuple[Stored, Nack]] = deque()

    async def open(
        self, position: Position | None, user: str, supersede: Callable[[], None]
    ) -> tuple[FromServer, ...]:
        """Take over the stream for a client that claims *position*; waits while the store is away.

        *supersede* is called when another session takes the stream over in its turn.

        Returns:
            The first frames for the client.
        """
        self._supersede = supersede
        opened = await self._persist(
            lambda hub: open_stream(hub.store, hub.policy.delivery, self.stream, position)
        )
        self._epoch, self._settled = opened.epoch, opened.start
        self.window = Window(acked=opened.start, reached=opened.start)
        hub = await self._persist(self._subscribe)
        if opened.lost:
            hub.emit(StreamReset(actor=hub.actor, stream=self.stream, epoch=opened.epoch))
        hub.emit(SessionStarted(actor=hub.actor, stream=self.stream, user=user, start=opened.start))
        return opened.frames

    def leave(self, ended: SessionEnded | None = None) -> None:
        """The session is over: what is not acknowledged is pending again."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
            if ended is not None:
                subscription.hub.emit(ended)

    # What the client gets and says.

    def frames(self) -> tuple[FromServer, ...]:
        """What may be sent now; from here on it is in flight."""
        previous = self.window.sent
        window, batch = delivery.take(self.window, trio.current_time(), self._policy)
        self._update(window)
        return with_gaps(previous, batch)

    def acknowledge(self, seq: int) -> None:
        """The client has everything up to *seq*.

        Raises:
            Overreach: It was never sent that much.
        """
        before = self.window.count
        self._update(delivery.acknowledge(self.window, seq, trio.current_time(), self._policy))
        self._owed += before - self.window.count
        self._to_settle.ring()
        self.to_write.ring()
        self._to_load.ring()

    def reject(self, answer: Nack) -> None:
        """The client could not deal with a message; nothing more is sent until that is judged."""
        window, message = delivery.reject(self.window, answer.seq)
        if message is not None:
            self._update(window)
            self._rejected.append((message, answer))
            self._to_settle.ring()

    # What the hub says.

    def more(self) -> None:
        """There may be more to deliver, or another hub."""
        self._to_load.ring()

    def supersede(self) -> None:
        """Another session of the same stream has taken over."""
        self._supersede()

    # Tasks and steps with the store.

    async def load(self) -> None:
        """Keep the window filled, for ever."""
        while True:
            hub = await self._persist(self._subscribe)
            if not await self._load_some(hub):
                await self._to_load.wait(hub.policy.poll * self._random.uniform(0.9, 1.1))

    async def settle(self) -> None:
        """Tell the store what the client answers, for ever."""
        while True:
            await self.settle_acks()
            while self._rejected:
                message, answer = self._rejected.popleft()
                await self.count_failure(message, answer.reason or "rejected", permanent=answer.permanent)
            await self._to_settle.wait(math.inf)

    async def settle_acks(self) -> None:
        """Tell the store what the client has acknowledged by now."""
        through, owed = self.window.acked, self._owed
        if through > self._settled:
            await self._persist(lambda hub: hub.store.ack(self.stream, self._epoch, through))
            self._settled = through
            self._owed -= owed
            self._update(self.window)
        else:
            await trio.lowlevel.checkpoint()

    async def count_failure(self, message: Stored, reason: str, *, permanent: bool = False) -> None:
        """The client had its chance at *message*: retry it later, or bury it."""
        stream, epoch, seq, policy = self.stream, self._epoch, message.seq, self._policy
        failure: Failure | None = None

        async def note(hub: Hub) -> tuple[Failure, ...]:
            nonlocal failure  # The same in each repetition, or the store would count it again.
            failure = failure or Failure(at=hub.wall(), reason=reason)
            return await hub.store.fail(stream, epoch, seq, failure)

        history = await self._persist(note)
        verdict = delivery.judge(history, policy, self._random, permanent=permanent)
        match verdict:
            case Retry(delay=pause):
                self._update(delivery.retry(self.window, trio.current_time() + pause))
                self._report(message, reason, len(history))
            case Bury(reason=cause):
                await self._persist(lambda hub: hub.store.bury(stream, epoch, seq, cause, hub.wall()))
                self._update(delivery.drop(self.window, seq))
                self._report(message, cause, None)
            case Gone():
                self._update(delivery.drop(self.window, seq))
            case _:
                assert_never(verdict)
        self.to_write.ring()
        self._to_load.ring()

    async def _load_some(self, hub: Hub) -> bool:
        """Read on from the store; False if there is nothing to read, or no room for it."""
        room = 2 * self._policy.window_messages - self.window.count
        plenty = (
            2 * len(self.window.ready) > self._policy.window_messages
        )  # Few large reads, not many small ones.
        size = 0 if plenty else self._room_in_memory(hub)
        if room <= 0 or size <= 0:
            await trio.lowlevel.checkpoint()
            return False
        self._reserve(size)  # Or many sessions could read at once what only one has room for.
        try:
            after, epoch = self.window.loaded, self._epoch
            page = await self._persist(
                lambda hub: hub.store.read(self.stream, epoch, after, count=room, size=size)
            )
        finally:
            self._reserve(0)
        return await self._take_in(page, size, hub.wall())

    async def _take_in(self, page: tuple[Stored, ...], size: int, wall: float) -> bool:
        """Keep what was read with room for *size* bytes; False if there was nothing, or it has to wait."""
        if not page or (self.window.count and page[0].size > size):
            return False
        wanted = [message for message in page if not is_expired(message, wall)]
        self._update(delivery.load(self.window, delivery.after(wanted, self.window.loaded)))
        self.to_write.ring()
        if len(wanted) < len(page):
            await self._persist(lambda hub: hub.sweep())
        return True

    def _room_in_memory(self, hub: Hub) -> int:
        if self._subscription is None:
            return 0
        size = self._subscription.allowance()
        if size <= 0:
            hub.starve(self._subscription)
        return size

    async def _subscribe(self, hub: Hub) -> Hub:
        await trio.lowlevel.checkpoint()
        if self._subscription is None or self._subscription.hub is not hub:
            self.leave()
            self._subscription = hub.subscribe(self.stream, self, self._arrived)
            self._update(self.window)
        return hub

    async def _persist(self, step: Callable[[Hub], Awaitable[T]]) -> T:
        """Do *step*, and again for as long as the store is away."""
        failures = 0
        while True:
            try:
                return await step(self._hub())
            except ServiceError as error:
                failures += 1
                if self._subscription is not None:
                    self._subscription.hub.store_away(error)
            await trio.sleep(delay(self._retry, failures, self._random))

    @property
    def _policy(self) -> DeliveryPolicy:
        return DEFAULT if self._subscription is None else self._subscription.hub.policy.delivery

    def _update(self, window: Window) -> None:
        if window.lease_until < self.window.lease_until:
            self.to_watch.ring()
        self.window = window
        self._tell()

    def _reserve(self, size: int) -> None:
        self._reserved = size
        self._tell()

    def _tell(self) -> None:
        if self._subscription is not None:
            held = self.window.size + self._reserved
            self._subscription.update(held, len(self.window.flying) + self._owed)

    def _report(self, message: Stored, reason: str, failures: int | None) -> None:
        if self._subscription is None:
            return
        hub, stream, seq, id = self._subscription.hub, self.stream, message.seq, message.id
        if failures is None:
            hub.emit(MessageDied(actor=hub.actor, stream=stream, seq=seq, id=id, reason=reason))
        else:
            hub.emit(
                MessageFailed(
                    actor=hub.actor, stream=stream, seq=seq, id=id, reason=reason, failures=failures
                )
            )


DEFAULT = DeliveryPolicy()


def with_gaps(previous: int, batch: tuple[Stored, ...]) -> tuple[FromServer, ...]:
    """Frames for *batch*, which follows on *previous*; what is missing in between is named."""
    frames: list[FromServer] = []
    for message in batch:
        if message.seq > previous + 1:
            frames.append(Gap(previous + 1, message.seq - 1))
        frames.append(Message(message.id, message.seq, msgspec.Raw(message.data)))
        previous = message.seq
    return tuple(frames)


def _nothing() -> None:
    """Nobody to supersede yet."""
