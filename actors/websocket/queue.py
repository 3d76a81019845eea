"""The actor that keeps the queue, and the client application code uses.

Messages do not pass through the actor's mailbox: it offers a `Hub`, and `QueueClient` runs the steps with the
store in its caller's task. Many producers then share the store's round trips instead of waiting in a row.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from resprout.actors.websocket.errors import ConservationBroken
from resprout.actors.websocket.events import LawBroken, StoreWeak
from resprout.actors.websocket.hub import Hub, QueuePolicy
from resprout.actors.websocket.law import Counts, check_conservation
from resprout.actors.websocket.store import DeadLetter, Store
from resprout.runtime.actor import Actor
from resprout.runtime.backoff import Backoff, delay
from resprout.runtime.errors import NotFoundError, OutcomeUnknown, Sent, ServiceError, Unavailable
from resprout.runtime.exits import ExitReason
from resprout.runtime.ref import Address

RESTART_WAIT: Final = 0.25
"""Seconds after which a restarting queue is usually back."""

CHECK_BOOKS: Final = 60.0
RETRY: Final = Backoff()


@attrs.define
class MessageQueue(Actor):
    """Accepts messages for clients, keeps them until they are acknowledged, and gives up on none silently.

    An outage of the store is no crash: producers get a typed error, deliveries wait. A crash of this actor
    loses nothing either: all that matters is in the store, and the sessions move on to the next incarnation.

    Attributes:
        store: Where messages are kept. Make it outside of the actor, so that it outlives a restart.
        policy: Bounds.
    """

    store: Store
    policy: QueuePolicy = attrs.field(factory=QueuePolicy)
    _hub: Hub = attrs.field(init=False, repr=False)

    async def on_start(self) -> None:
        context = self.context
        self._hub = Hub(self.store, self.policy, emit=context.emit, actor=context.path)
        context.offer(self._hub)
        context.start_soon(self._until_done, self._report_weaknesses)
        context.start_soon(self._regularly, self.policy.sweep, self._hub.sweep)
        context.start_soon(self._regularly, CHECK_BOOKS, self._check_books)

    async def on_stop(self, reason: ExitReason) -> None:
        self._hub.close()

    async def counts(self, stream: str | None = None) -> Counts:
        """The books of one stream or of all."""
        return await self._hub.counts(stream)

    async def audit(self) -> Counts:
        """The books, with what waits counted one by one: slow, and proves the conservation law.

        Raises:
            ConservationBroken: It does not hold.
        """
        books = await self._hub.audit()
        check_conservation(books)
        return books

    async def redrive(self, stream: str, *ids: str) -> int:
        """Put dead letters of *stream* back at its end: those with *ids*, or all; returns how many."""
        return await self._hub.redrive(stream, *ids)

    async def dead_letters(self, stream: str, limit: int = 100) -> tuple[DeadLetter, ...]:
        """What was given up on."""
        return await self.store.dead_letters(stream, limit)

    async def _report_weaknesses(self) -> None:
        for weakness in await self.store.weaknesses():
            self.context.emit(StoreWeak(actor=self.context.path, store=self.store.name, weakness=weakness))

    async def _check_books(self) -> None:
        try:
            check_conservation(await self._hub.counts())
        except ConservationBroken as error:
            self.context.emit(LawBroken(actor=self.context.path, problem=str(error)))

    async def _regularly(self, period: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await trio.sleep(period)
            await self._until_done(step)

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do *step*, and again for as long as the store is away."""
        failures = 0
        while True:
            try:
                await step()
                return
            except ServiceError as error:
                failures += 1
                self._hub.store_away(error)
            await trio.sleep(delay(RETRY, failures, self.context.random))


class QueueClient:
    """Enqueues messages, wherever in the tree the queue is.

    >>> from resprout.runtime import Name
    >>> QUEUE = Name(MessageQueue, "queue")
    >>> queue = QueueClient(QUEUE)

    Args:
        queue: Its name or ref.
        timeout: Seconds a call may take in all.
    """

    def __init__(self, queue: Address[MessageQueue], *, timeout: float = 5.0) -> None:
        self._queue, self._timeout = queue, timeout

    async def enqueue(
        self,
        stream: str,
        data: object,
        *,
        id: str | None = None,
        expires_in: float | None = None,
        timeout: float | None = None,
    ) -> int:
        """Accept *data* for the client of *stream*; returns its sequence once the store has it for good.

        Accepted messages are delivered whether or not the client, or the server, is there now.

        Args:
            stream: Names the client's stream; made if it is new.
            data: Whatever JSON can say, attrs classes and msgspec structs included.
            id: Names the message. With one, repeating the call stores nothing twice, for 24 hours.
            expires_in: Seconds after which nobody wants it any more; None for never.
            timeout: Seconds this call may take.

        Raises:
            QueueFull: Too much waits already; nothing was stored.
            Unavailable: The store or the queue is away; nothing was stored.
            OutcomeUnknown: The store went away in the middle, or time ran out; repeat with the same *id*.
            ValueError: A name or the message is too long, or *expires_in* is not positive.
            TypeError: JSON cannot say *data*.
        """
        hub = find_hub(self._queue)
        seconds = self._timeout if timeout is None else timeout
        with trio.move_on_after(seconds):
            return await hub.enqueue(stream, data, id=id, expires_in=expires_in)
        raise OutcomeUnknown(
            hub.store.name, f"no answer within {seconds:g} s; repeat with the same id", sent=Sent.MAYBE
        )

    async def counts(self, stream: str | None = None) -> Counts:
        """The books of one stream or of all."""
        return await find_hub(self._queue).counts(stream)

    async def redrive(self, stream: str, *ids: str) -> int:
        """Put dead letters of *stream* back at its end: those with *ids*, or all; returns how many."""
        return await find_hub(self._queue).redrive(stream, *ids)

    async def dead_letters(self, stream: str, limit: int = 100) -> tuple[DeadLetter, ...]:
        """What was given up on."""
        return await find_hub(self._queue).store.dead_letters(stream, limit)


def find_hub(queue: Address[MessageQueue]) -> Hub:
    """What the queue offers now.

    Raises:
        Unavailable: It is being restarted, or there is none.
    """
    try:
        hub = queue.offered(Hub)
    except NotFoundError as error:
        raise Unavailable("queue", str(error), retry_after=1.0, cause=error) from error
    if hub is None:
        raise Unavailable(
            queue.path, "the queue is being restarted", state="restarting", retry_after=RESTART_WAIT
        )
    return hub
