"""The handle others hold: it names a place in the tree and survives restarts of the actor in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import trio
from trio.lowlevel import checkpoint, current_task, wait_task_rescheduled

from resprout.runtime.errors import ActorStopped, MailboxFull, SelfCallError
from resprout.runtime.message import Call, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resprout.runtime.actor import Actor
    from resprout.runtime.cell import Cell

A = TypeVar("A", bound="Actor")
P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

DEFAULT_TIMEOUT = 5.0


class Address(Generic[A]):
    """What refs and names have in common: sending messages to an actor of type *A*."""

    __slots__ = ("_timeout",)

    _timeout: float

    def _find(self) -> Cell:
        raise LookupError(f"{self!r} leads nowhere")

    @property
    def _cell(self) -> Cell:
        """The same as `_find`, which for a ref is a plain attribute: every message goes through here."""
        return self._find()

    @property
    def path(self) -> str:
        """Where the actor is in the tree, such as ``app/redis``."""
        return self._find().path

    async def call(
        self, method: Callable[Concatenate[A, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Have the actor run *method* and return its result.

        Raises:
            CallTimeoutError: No reply within the deadline (5 s, see `within`), which covers waiting for room.
            ActorCrashed: The actor crashed while it handled this message.
            ActorStopped: It has ended for good.
            MailboxFull: Its mailbox is full and rejects.
            SelfCallError: The caller is the actor itself.
            ReplyError: The actor answered with this error.
        """
        cell = self._cell
        task = current_task()
        mailbox = cell.mailbox
        call = Call(method.__name__, args, kwargs, task, self._timeout, mailbox)
        if cell.task is task:
            raise SelfCallError(cell.path)
        if len(mailbox.queue) < mailbox.limit:
            mailbox.queue.append(call)
            if mailbox.sleeper is not None:
                mailbox.wake()
        else:
            _queue_call(cell, call)
        cell.system.clock.watch(call)
        return cast("T", await wait_task_rescheduled(call.abort))

    def cast(
        self, method: Callable[Concatenate[A, P], Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Have the actor run *method*; never waits and returns nothing.

        A cast to an actor that has ended becomes a dead letter.

        From another thread use `trio.from_thread.run_sync(ref.cast, …)`.

        Raises:
            MailboxFull: The mailbox is full and its overflow rule drops nothing.
        """
        cell = self._cell
        mailbox = cell.mailbox
        message = Message(method.__name__, args, kwargs)
        if len(mailbox.queue) < mailbox.limit:
            if mailbox.sleeper is not None:
                mailbox.wake()  # First: it raises in a foreign thread, and then nothing must be queued.
            mailbox.queue.append(message)
        else:
            _squeeze_in(cell, message)

    async def send(
        self, method: Callable[Concatenate[A, P], Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """As `cast`, but wait for room in the mailbox, as long as it takes.

        Raises:
            ActorStopped: The actor has ended for good.
            MailboxFull: The mailbox is full and rejects.
        """
        await _queue_in_turn(self._cell, Message(method.__name__, args, kwargs))

    def channel(self, method: Callable[[A, V], Awaitable[object]]) -> trio.abc.SendChannel[V]:
        """A trio channel into the actor: each value sent becomes a message to *method*."""
        return _MethodChannel(self, method)

    def within(self, seconds: float) -> Address[A]:
        """The same address with another deadline for calls; `math.inf` for none."""
        raise LookupError(f"{self!r} leads nowhere")

    @property
    def instance(self) -> Actor | None:
        """The present incarnation, for looking at only; None between two. Send it messages to change it."""
        incarnation = self._find().incarnation
        return incarnation.actor if incarnation is not None else None

    def offered(self, kind: type[T]) -> T | None:
        """What the present incarnation offers to clients of its process; None while there is none."""
        offer = self._find().offer
        return offer if isinstance(offer, kind) else None


class Ref(Address[A]):
    """Address of one place in the tree. Equal refs lead to the same place."""

    __slots__ = ("_cell",)

    _cell: Cell

    def __init__(self, cell: Cell, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._cell = cell  # pyright: ignore[reportIncompatibleMethodOverride]  # As a slot it is read without a call.
        self._timeout = timeout

    def _find(self) -> Cell:
        return self._cell

    def within(self, seconds: float) -> Ref[A]:
        """The same ref with another deadline for calls; `math.inf` for none."""
        return Ref(self._cell, _positive(seconds))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other._cell is self._cell

    def __hash__(self) -> int:
        return hash(self._cell)

    def __repr__(self) -> str:
        return f"<Ref {self._cell.path}>"


def _positive(seconds: float) -> float:
    if not seconds > 0:
        raise ValueError(f"a deadline must be more than 0 seconds, not {seconds!r}; use math.inf for none")
    return seconds


def _queue_call(cell: Cell, call: Call) -> None:
    """The slow way in: the mailbox is full or closed, or others wait already."""
    mailbox = cell.mailbox
    if mailbox.closed:
        raise ActorStopped(cell.path, cell.exit_reason)
    try:
        if not mailbox.offer(call):
            mailbox.queue_in_turn(call)
    except trio.WouldBlock:
        raise MailboxFull(cell.path, mailbox.capacity) from None


async def _queue_in_turn(cell: Cell, message: Message) -> None:
    try:
        await cell.mailbox.send(message)
    except trio.WouldBlock:
        raise MailboxFull(cell.path, cell.mailbox.capacity) from None
    except trio.ClosedResourceError:
        raise ActorStopped(cell.path, cell.exit_reason) from None


def _squeeze_in(cell: Cell, message: Message) -> None:
    if cell.mailbox.closed:
        cell.system.bury(cell, message, "the actor has stopped")
        return
    try:
        if cell.mailbox.offer(message):
            return
    except trio.WouldBlock:
        pass
    raise MailboxFull(cell.path, cell.mailbox.capacity)


class _MethodChannel(trio.abc.SendChannel[V]):
    """Values sent here become messages; closing it closes only this end."""

    def __init__(self, address: Address[Any], method: Callable[..., Awaitable[object]]) -> None:
        self._address, self._method, self._closed = address, method, False

    async def send(self, value: V) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        try:
            await self._address.send(self._method, value)
        except ActorStopped as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        self._closed = True
        await checkpoint()
