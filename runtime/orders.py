"""Looking into an actor that runs, and taking hold of it: OTP's `sys`.

An order waits in the control lane, ahead of all mail, until the message in work is done, and is carried out
by the actor's own task: between two messages, so that nobody sees a state that is half changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

import attrs
from trio.lowlevel import current_task, wait_task_rescheduled

from resprout.runtime.errors import ActorNotRunning, ActorStopped, SelfCallError
from resprout.runtime.exits import ExitReason, Normal
from resprout.runtime.message import Call
from resprout.runtime.observing import DEFAULT_LOG, DEFAULT_TRACE, Observer, Statistics, TraceEvent
from resprout.runtime.signals import Signal
from resprout.runtime.state import fields_of, replace_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resprout.runtime.actor import Actor
    from resprout.runtime.cell import Cell
    from resprout.runtime.incarnation import Incarnation
    from resprout.runtime.ref import Address

A = TypeVar("A", bound="Actor")
T = TypeVar("T")


@attrs.frozen(kw_only=True, eq=False)
class ControlOrder(Signal):
    """Have the incarnation's own task do *work* between two messages, and answer *call*."""

    is_order = True

    call: Call
    work: Callable[[Incarnation], object]

    def obey(self, incarnation: Incarnation) -> None:
        """Do the work; what it raises is the asker's, and harms the actor no more than a wrong question."""
        if self.call.task is None:
            return
        try:
            result = self.work(incarnation)
        except Exception as error:  # noqa: BLE001 - raised in whoever gave the order.
            self.call.fail(error)
        else:
            self.call.reply(result)

    def forget(self, actor: str) -> None:
        """See `Signal`."""
        self.call.fail(ActorNotRunning(actor))


class Control(Generic[A]):
    """The operator's hold on one place in the tree; made by `control`.

    Every request waits for the message in work, at most for the address's deadline (5 s, see `within`), and
    works also while the actor is suspended.

    All of them raise:
        CallTimeoutError: The actor is at work on one message for longer than the deadline.
        ActorNotRunning: It is between two incarnations, or this one ended before it came to the order.
        ActorStopped: It has ended for good.
        SelfCallError: The actor gave the order itself, which could only end in a timeout.
    """

    __slots__ = ("_address",)

    def __init__(self, address: Address[A]) -> None:
        self._address = address

    async def inspect(self, look: Callable[[A], T]) -> T:
        """What *look* returns of the actor; it must not wait, and should not change anything.

        >>> total = control(COUNTER).inspect(lambda counter: counter.total)  # doctest: +SKIP
        """
        return await self._order(lambda now: look(cast("A", now.actor)))

    async def get_state(self) -> dict[str, object]:
        """The actor's fields by name. The values are the actor's own: look at them, do not change them."""
        return await self._order(lambda now: fields_of(_actor(now)))

    async def replace_state(self, change: Callable[[A], Mapping[str, object]]) -> None:
        """Set the fields that *change* returns: all of them or, if it raises, none.

        Raises:
            StateError: There is no such field.
        """

        def replace(now: Incarnation) -> None:
            actor = _actor(now)
            replace_fields(actor, change(cast("A", actor)))

        await self._order(replace)

    async def suspend(self) -> None:
        """Leave mail and notices waiting, in order, until `resume`; stop orders and a kill are obeyed.

        Callers' deadlines go on. The hold ends with the incarnation.
        """
        await self._order(lambda now: setattr(now, "suspended", True))

    async def resume(self) -> None:
        """Go on with what waited. Does nothing if it is not suspended."""
        await self._order(lambda now: setattr(now, "suspended", False))

    async def is_suspended(self) -> bool:
        """Whether it is."""
        return await self._order(lambda now: now.suspended)

    async def trace(self, hook: Callable[[TraceEvent], None], *, limit: int = DEFAULT_TRACE) -> None:
        """Call *hook* with each of the next *limit* events: a message begins, a message is done, a notice.

        It stays over restarts, and is removed after *limit* events, by `untrace`, or when it raises. It runs
        in the actor's task and must not block.
        """
        await self._observe(lambda observer: observer.add_hook(hook, limit))

    async def untrace(self, hook: Callable[[TraceEvent], None]) -> None:
        """Call *hook* no more."""
        await self._observe(lambda observer: observer.remove_hook(hook))

    async def keep_log(self, size: int = DEFAULT_LOG) -> None:
        """Keep the last *size* events from now on, also over restarts; 0 ends it and forgets them."""
        await self._observe(lambda observer: observer.keep_log(size))

    async def get_log(self) -> tuple[TraceEvent, ...]:
        """The events kept, oldest first."""
        return await self._observe(lambda observer: observer.logged)

    async def start_statistics(self) -> None:
        """Count from now on, from zero, also over restarts."""
        await self._observe(lambda observer: observer.start_counting())

    async def stop_statistics(self) -> None:
        """Count no more."""
        await self._observe(lambda observer: observer.stop_counting())

    async def get_statistics(self) -> Statistics | None:
        """What was counted; None if nothing is."""
        return await self._observe(lambda observer: observer.statistics)

    def stop(self, reason: ExitReason = Normal()) -> None:  # noqa: B008 - Normal is frozen.
        """End it with *reason* after the message in work, as if it had said so itself; its supervisor decides
        what follows. Returns at once."""
        cell = self._address._find()
        if cell.running:
            cell.leave(reason)

    def kill(self, detail: str = "by an operator") -> None:
        """Cancel it and all below it at once, without `on_stop`; its supervisor decides what follows."""
        self._address._find().kill(detail)

    async def _observe(self, ask: Callable[[Observer], T]) -> T:
        return await self._order(lambda now: now.cell.system.observed(now, ask))

    async def _order(self, work: Callable[[Incarnation], T]) -> T:
        cell, task = self._address._find(), current_task()
        if cell.task is task:
            raise SelfCallError(cell.path)
        _refuse_unless_running(cell)
        call = Call("control", (), {}, task, self._address._timeout, cell.mailbox)
        call.started = True  # It is in no queue that would have to forget it.
        cell.mailbox.signal(ControlOrder(call=call, work=work))
        cell.system.clock.watch(call)
        return cast("T", await wait_task_rescheduled(call.abort))


def control(address: Address[A]) -> Control[A]:
    """The operator's hold on the actor at *address*, a `Ref` or a `Name`: state, suspension, trace, end."""
    return Control(address)


def _refuse_unless_running(cell: Cell) -> None:
    if cell.mailbox.closed:
        raise ActorStopped(cell.path, cell.exit_reason)
    if not cell.running:
        raise ActorNotRunning(cell.path)


def _actor(now: Incarnation) -> Actor:
    if now.actor is None:
        raise ActorNotRunning(now.cell.path)
    return now.actor
