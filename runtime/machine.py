"""What drives a state machine: collects what the method of an event asks for, and carries it out in order.

The order is that of OTP's gen_statem: answer, enter the new state, put the event aside if it was postponed,
bring back what was put aside if the state changed, timeouts, next event. What it brings back and timeouts of
no time at all go before all mail, because mail counts as not yet received.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs
from trio.lowlevel import current_task

from resprout.runtime.crash import PutAside, only_put_aside, only_replies
from resprout.runtime.errors import ReplyError
from resprout.runtime.life import Life
from resprout.runtime.signals import Continuation
from resprout.runtime.transition import (
    Timeout,
    TimeoutKey,
    TimeoutPlan,
    Unchanged,
    decide,
    plan_timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from resprout.runtime.incarnation import Incarnation
    from resprout.runtime.message import Message
    from resprout.runtime.statemachine import StateMachine
    from resprout.runtime.timers import Step, Timer

S = TypeVar("S")

UNCHANGED = Unchanged()


class Phase(enum.Enum):
    """What the machine is doing; the value is how an error names it."""

    STARTING = "in on_start"
    IDLE = "while no event is in work"
    EVENT = "in the method of an event"
    ENTERING = "in on_enter"


@attrs.frozen(eq=False)
class Running:
    """A timeout that has not been handled; without a timer if it waits in line already."""

    message: Step
    timer: Timer | None


@attrs.frozen(kw_only=True, eq=False)
class Recall(Continuation):
    """Takes one event after the other that goes before all mail."""

    machine: Machine[object]

    def take(self) -> Message | None:
        return self.machine.take()


class Machine(Generic[S]):
    """The state of one incarnation of *actor*, and what its events have asked for so far."""

    __slots__ = (
        "_actor",
        "_armed",
        "_asked",
        "_at_once",
        "_incarnation",
        "_inserted",
        "_phase",
        "_recall",
        "_repeat",
        "_retry",
        "_running",
        "_wanted",
        "state",
    )

    def __init__(self, actor: StateMachine[S], incarnation: Incarnation) -> None:
        self._actor, self._incarnation = actor, incarnation
        self.state: S | Unchanged = UNCHANGED
        self._phase = Phase.STARTING
        self._wanted: S | Unchanged = UNCHANGED
        self._repeat = False
        self._asked: list[Timeout] = []
        self._inserted: list[Message] = []
        self._running: dict[TimeoutKey, Running] = {}
        self._at_once: deque[TimeoutKey] = deque()  # Timeouts of no time at all.
        self._retry = False  # The state changed: what is put aside is due.
        self._armed = False
        self._recall = Recall(machine=self)  # type: ignore[arg-type] # of whatever states

    def __repr__(self) -> str:
        return f"<{self.state!r}>"

    # What the actor asks for.

    def become(self, state: S) -> None:
        self._check("become", Phase.EVENT)
        self._wanted = state

    def repeat_state(self) -> None:
        self._check("repeat_state", Phase.EVENT)
        self._repeat = True

    def check_postpone(self) -> None:
        self._check("postpone", Phase.EVENT)

    def check_then(self) -> None:
        self._check("then", Phase.EVENT, Phase.STARTING, Phase.IDLE)

    def insert(self, method: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        self._check("next_event", Phase.EVENT, Phase.STARTING, Phase.IDLE)
        self._inserted.append(self._incarnation.cell.timers.step(method, args, kwargs))
        if self._phase is Phase.IDLE:  # In `on_signal`.
            self._arm()

    def set_timeout(
        self,
        key: TimeoutKey,
        seconds: float,
        method: str,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> None:
        self._check("a timeout", Phase.EVENT, Phase.STARTING, Phase.ENTERING)
        if not seconds >= 0:
            raise ValueError(f"a timeout needs 0 seconds or more, not {seconds!r}; use math.inf to cancel it")
        self._asked.append(Timeout(key, seconds, self._incarnation.cell.timers.step(method, args, kwargs)))

    def _check(self, what: str, *allowed: Phase) -> None:
        path = self._incarnation.cell.path
        if self._phase not in allowed:
            advice = {
                Phase.STARTING: "return the first state from initial() and let its events do the rest",
                Phase.IDLE: "use next_event() in on_signal, and a cast in a task, to have an event do it",
                Phase.EVENT: "",
                Phase.ENTERING: "a state that is entered may set timeouts and no more; let a timeout of 0 do it",
            }[self._phase]
            raise RuntimeError(f"{path}: {what} is not possible {self._phase.value}; {advice}")
        if current_task() is not self._incarnation.cell.task:
            raise RuntimeError(f"{path}: {what} is not possible in another task; cast an event to the actor")
        if self._incarnation.cell.life is Life.STOPPING:
            raise RuntimeError(f"{path}: {what} is not possible in on_stop; nothing is handled any more")

    # The life of the machine.

    async def start(self) -> None:
        """Enter the first state."""
        self.state = self._actor.initial()
        await self._enter(self.state)
        self._settle(changed=False)

    async def run(self, work: Awaitable[object]) -> object:
        """Handle an event: do *work*, its method, answer, and make the transition."""
        message = self._incarnation.current
        self._begin(message)
        result: object = None
        aside: PutAside | BaseExceptionGroup[BaseException] | None = None
        try:
            result = await work
        except ReplyError as error:
            self._incarnation._answer(message, error)
        except ExceptionGroup as group:
            self._incarnation._answer(message, only_replies(group))
        except (PutAside, BaseExceptionGroup) as raised:
            only_put_aside(raised)
            aside = raised
        else:
            self._incarnation.give(message, result)
        await self._move()
        if aside is not None:
            raise aside  # Now it is put aside; what comes next sees it there.
        return result

    def _begin(self, message: Message | None) -> None:
        self._phase = Phase.EVENT
        self._wanted, self._repeat = UNCHANGED, False
        for key, running in self._running.items():
            if running.message is message:  # It is an event like others now.
                del self._running[key]
                break

    async def _move(self) -> None:
        old = self.state
        transition = decide(old, self._wanted, repeat=self._repeat)
        self.state = transition.state
        if transition.entered:
            await self._enter(old)
        self._settle(changed=transition.changed)

    async def _enter(self, old: S | Unchanged) -> None:
        self._phase = Phase.ENTERING
        try:
            await self._actor._enter(old, self.state)
        except (ReplyError, PutAside, BaseExceptionGroup) as error:
            # Nobody is there to be answered, and nothing to be put aside.
            if isinstance(error, BaseExceptionGroup) and error.split((ReplyError, PutAside))[1] is not None:
                raise
            path = self._incarnation.cell.path
            raise RuntimeError(f"{path}: on_enter cannot answer or put aside: {error!r}") from error

    def _settle(self, *, changed: bool) -> None:
        self._phase = Phase.IDLE
        asked, self._asked = self._asked, []
        if changed:
            self._retry = True
        if asked or self._running:
            self._carry_out(plan_timeouts(tuple(self._running), asked, changed=changed))
        self._arm()

    # Timeouts.

    def _carry_out(self, plan: TimeoutPlan) -> None:
        for key in plan.cancel:
            running = self._running.pop(key)
            if running.timer is not None:
                running.timer.cancel()
            else:
                self._at_once.remove(key)
        for timeout in plan.start:
            timer = None
            if timeout.seconds:
                timer = self._incarnation.cell.timers.cast_after(timeout.seconds, timeout.message)
            else:
                self._at_once.append(timeout.key)
            self._running[timeout.key] = Running(timeout.message, timer)

    # Events that go before all mail.

    def _arm(self) -> None:
        if not self._armed and (self._retry or self._inserted or self._at_once):
            self._armed = True
            self._incarnation.cell.mailbox.follow(self._recall)

    def take(self) -> Message | None:
        """The next event that goes before all mail: an inserted one, one to be tried again, or a timeout."""
        recalled = self._line()
        self._armed = False
        message: Message | None = None
        if recalled:
            message = recalled.popleft()
        elif self._at_once:
            message = self._running[self._at_once.popleft()].message
        if recalled or self._at_once:
            self._armed = True
            self._incarnation.cell.mailbox.follow(self._recall)
        return message

    def _line(self) -> deque[Message]:
        """What goes before all mail but timeouts, after what the last event did to it."""
        aside = self._incarnation.cell.mailbox.put_aside()
        if self._retry:
            aside.recall()
        aside.recalled.extendleft(reversed(self._inserted))
        self._retry = False
        self._inserted.clear()
        return aside.recalled
