"""State machines: an actor whose events find it in one of several states, after OTP's gen_statem."""

from __future__ import annotations

import math
from functools import wraps
from typing import TYPE_CHECKING, ClassVar, Concatenate, Generic, NoReturn, ParamSpec, Self, TypeVar, cast

from resprout.runtime.actor import HOOKS, Actor
from resprout.runtime.machine import Machine
from resprout.runtime.transition import Clock, Unchanged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resprout.runtime.actor import Handler

S = TypeVar("S")
P = ParamSpec("P")


class StateMachine(Actor, Generic[S]):
    """An actor with a state, of type *S*: a union of frozen classes, one per state.

    Events are its messages, public `async` methods, which `match self.state`. `become` says what the next
    state is; it takes place once the method has returned and its caller is answered. A crash starts anew from
    `initial`.
    """

    __slots__ = ("_machine",)

    _machine: Machine[S]
    _hooks: ClassVar[frozenset[str]] = HOOKS | {"on_enter"}

    # What to define.

    def initial(self) -> S:
        """The first state; asked for after `on_start`."""
        raise NotImplementedError(
            f"{type(self).__name__} has no first state; define `def initial(self) -> …`"
        )

    async def on_start(self) -> None:
        """Prepare; as in every actor. There is no state yet, but timeouts and next events may be set."""

    async def on_enter(self, old: S, new: S) -> None:
        """*new* is entered from *old*: also for the first state, with itself as *old*, and a repeated one.

        May set timeouts. May not change the state, postpone, or insert events; there is nobody to answer.
        """

    # What the method of an event can do.

    @property
    def state(self) -> S:
        """The present state. Between `become` and the end of the method it is still the old one."""
        machine = getattr(self, "_machine", None)
        if machine is None or isinstance(machine.state, Unchanged):
            raise RuntimeError(f"{type(self).__name__} has no state before initial(), which follows on_start")
        return cast("S", machine.state)

    def become(self, state: S) -> None:
        """Let *state* follow when this event is answered; the last one asked for counts.

        If it differs from the present one (`!=`), postponed events are tried again and the state timeout ends.
        """
        self._machine.become(state)

    def repeat_state(self) -> None:
        """Enter the state again when this event is answered, if it does not change anyway."""
        self._machine.repeat_state()

    def postpone(self) -> NoReturn:
        """Leave the method: this event is tried again, unanswered so far, after the next change of state.

        What the method asked for before takes place. As many events may be postponed as the mailbox holds.

        Raises:
            StashFull: That many are; uncaught, it crashes the actor.
        """
        self._machine.check_postpone()
        self.context.stash()

    def next_event(
        self, method: Callable[Concatenate[Self, P], Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Have *method* handled after this event, before all others. Several come in their order."""
        self._machine.insert(method.__name__, args, kwargs)

    # Timeouts: events to come. `math.inf` cancels, setting one again restarts it, and 0 seconds come after
    # all events that are inserted or tried again, but before any mail.

    def state_timeout(
        self,
        seconds: float,
        method: Callable[Concatenate[Self, P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Have *method* handled in *seconds*, if the state that follows this event lasts that long."""
        self._machine.set_timeout(Clock.STATE, seconds, method.__name__, args, kwargs)

    def event_timeout(
        self,
        seconds: float,
        method: Callable[Concatenate[Self, P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Have *method* handled in *seconds*, if no other event is handled before."""
        self._machine.set_timeout(Clock.EVENT, seconds, method.__name__, args, kwargs)

    def named_timeout(
        self,
        name: str,
        seconds: float,
        method: Callable[Concatenate[Self, P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Have *method* handled in *seconds*, whatever the state is then."""
        self._machine.set_timeout(name, seconds, method.__name__, args, kwargs)

    def cancel_timeout(self, name: str) -> None:
        """End the named timeout, if it runs."""
        self._machine.set_timeout(name, math.inf, "", (), {})

    # For the engine.

    async def _start_up(self) -> None:
        self._machine = Machine(self, self.context._incarnation)
        await self.on_start()
        await self._machine.start()

    def _check_then(self) -> None:
        self._machine.check_then()

    def _enter(self, old: object, new: object) -> Awaitable[None]:
        return self.on_enter(cast("S", old), cast("S", new))

    @classmethod
    def _handler(cls, method: Handler) -> Handler:
        """*method* as an event."""

        @wraps(method)
        def handle(actor: StateMachine[S], *args: object, **kwargs: object) -> Awaitable[object]:
            # Called here, so that wrong arguments are refused as those of any message.
            return actor._machine.run(method(actor, *args, **kwargs))

        return handle
