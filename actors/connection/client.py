"""Calls over a connection of your own: ``await mail.call(SmtpLink.send, "Dear Ann, …")``.

The call runs in its caller's task, on the live link. Each ends by its deadline, with its result, a `ReplyError`
that the link's method raised, or a typed error that says what happened and when to come back.
"""

import copy
import math
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import trio

from resprout.actors.connection.actor import Connection
from resprout.actors.connection.base_link import BaseLink, LinkDied, NeverBegun
from resprout.actors.connection.gate import Gate
from resprout.actors.connection.on_down import FAIL_FAST, WAIT, OnDown
from resprout.actors.connection.states import Stopped
from resprout.runtime.classify import is_programming_error
from resprout.runtime.errors import (
    DeadlineExceeded,
    OutcomeUnknown,
    Phase,
    ReplyError,
    Sent,
    ServiceError,
    Unavailable,
)
from resprout.runtime.ref import Address
from resprout.runtime.retry_budget import BudgetedCall
from resprout.runtime.telling import sentence

B = TypeVar("B", bound=BaseLink)
C = TypeVar("C", bound=Connection)
P = ParamSpec("P")
R = TypeVar("R")

LOOK_AGAIN = 0.05  # Seconds between two looks for a connection whose actor is being restarted.


class _Late(Exception):
    """The call's own deadline passed; *began* says whether it had the link by then."""

    def __init__(self, *, began: bool) -> None:
        super().__init__("no answer in time" if began else "no turn on the link in time")
        self.began = began


class LinkClient(Generic[B]):
    """Runs methods of the live link of a connection.

    Args:
        connection: The name or ref of the connection's actor, or the gate of one that is kept by other means.
        link: The class of its links.
        timeout: Seconds a call may take in all.
        on_down: While there is no link, raise `Unavailable` at once (FAIL_FAST) or WAIT for one.
        idempotent: Running a call twice does no harm, so one without an answer is made again.
    """

    def __init__(
        self,
        connection: Address[C] | Gate[B],
        link: type[B],
        *,
        timeout: float = 5.0,
        on_down: OnDown = FAIL_FAST,
        idempotent: bool = False,
    ) -> None:
        self._connection: Address[Any] | Gate[B] = connection  # Whichever connection.
        self._link_class = link
        self._timeout, self._on_down, self._idempotent = _deadline(timeout), on_down, idempotent

    def using(
        self, *, timeout: float | None = None, on_down: OnDown | None = None, idempotent: bool | None = None
    ) -> Self:
        """The same client with other rules, for instance ``mail.using(timeout=30, on_down=WAIT).call(…)``."""
        other = copy.copy(self)
        other._timeout = self._timeout if timeout is None else _deadline(timeout)
        other._on_down = on_down or self._on_down
        other._idempotent = self._idempotent if idempotent is None else idempotent
        return other

    async def call(
        self, method: Callable[Concatenate[B, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return what ``method(link, *args, **kwargs)`` returns.

        Raises:
            ReplyError: What the method raised as its answer.
            Unavailable: There is no link; nothing was done.
            CircuitOpen: Calls over the link fail, so this one was not made.
            PoolExhausted: Too many stand in line for the link; nothing was done.
            DeadlineExceeded: No answer in time; nothing was done, or it is safe to repeat.
            OutcomeUnknown: The call began and has no answer; it may have run or not.
            Draining: The connection is being stopped.
        """
        gate = self._gate()
        with nullcontext() if gate is None else gate.retries.call() as budgeted:
            return await self._attempts(lambda link: method(link, *args, **kwargs), budgeted)

    async def _attempts(self, method: Callable[[B], Awaitable[R]], budgeted: BudgetedCall | None) -> R:
        """Attempts until one is answered, nothing more may be sent, or time is up."""
        deadline = trio.current_time() + self._timeout
        sent = Sent.NO  # What an earlier attempt may have sent stays sent.
        cause: Exception | None = None
        while True:
            gate, link = await self._find(deadline, sent, cause)
            try:
                result = await self._run(gate.service, link, deadline, method)
            except ServiceError as error:
                gate.failed(error)
                raise
            except ReplyError:
                gate.succeeded()
                raise
            except _Late as late:
                if not late.began:
                    raise self._given_up(gate, late, sent, Phase.QUEUE) from None
                gate.failed(late)
                raise self._given_up(gate, late, Sent.MAYBE, Phase.READ) from None
            except Exception as error:
                if is_programming_error(error):
                    raise
                never_begun = isinstance(error, NeverBegun)
                below = error.__cause__ if isinstance(error, NeverBegun | LinkDied) else None
                cause = below if isinstance(below, Exception) else error
                gate.lost(link, cause)
                if isinstance(error, TimeoutError | trio.TooSlowError):
                    gate.failed(error)
                sent = sent if never_begun else Sent.MAYBE
                if sent is not Sent.NO and not self._idempotent:
                    raise self._given_up(gate, cause, sent) from cause
                # What was not sent was no load for the service: it costs nothing to send it now.
                if not never_begun and budgeted is not None and not budgeted.may_retry():
                    raise self._given_up(gate, cause, sent, no_more=True) from cause
            else:
                gate.succeeded()
                return result

    async def _run(self, service: str, link: B, deadline: float, method: Callable[[B], Awaitable[R]]) -> R:
        """One attempt over *link*, in turn."""
        began = False
        with trio.CancelScope(deadline=deadline) as scope, link.ended_with(scope):
            async with link.turn(service):
                began = True
                return await method(link)
        assert scope.cancelled_caught
        if trio.current_time() < deadline and link.why_lost is not None:
            raise (LinkDied if began else NeverBegun)(sentence(link.why_lost)) from link.why_lost
        raise _Late(began=began)

    async def _find(self, deadline: float, sent: Sent, cause: Exception | None) -> tuple[Gate[B], B]:
        """The gate and the live link; *sent* and *cause* tell of the attempt before."""
        while True:
            gate = self._gate()
            try:
                if gate is not None and (self._on_down is FAIL_FAST or not self._may_be_replaced(gate)):
                    link = await gate.wait_link(deadline if self._waits(sent) else -math.inf)
                    return gate, self._checked(link)
                if not self._waits(sent) or trio.current_time() + LOOK_AGAIN >= deadline:
                    raise self._not_running()
            except ServiceError as error:
                if sent is Sent.NO:
                    raise
                raise self._given_up(gate, cause or error, sent, Phase.CONNECT) from error
            await trio.sleep(LOOK_AGAIN)

    def _waits(self, sent: Sent) -> bool:
        """One that may have been sent, and may be repeated, is worth waiting for the next link."""
        return self._on_down is WAIT or sent is not Sent.NO

    def _may_be_replaced(self, gate: Gate[B]) -> bool:
        return isinstance(gate.state, Stopped) and gate is not self._connection

    def _gate(self) -> Gate[B] | None:
        """The gate of the connection's present incarnation."""
        return self._connection if isinstance(self._connection, Gate) else self._connection.offered(Gate)

    def _checked(self, link: B) -> B:
        if not isinstance(link, self._link_class):
            raise TypeError(
                f"the links of this connection are {type(link).__name__}, not {self._link_class.__name__}"
            )
        return link

    def _not_running(self) -> Unavailable:
        where = "" if isinstance(self._connection, Gate) else self._connection.path
        return Unavailable(where, "its actor is not running", state="restarting", retry_after=0.25)

    def _given_up(
        self,
        gate: Gate[B] | None,
        why: Exception,
        sent: Sent,
        late: Phase | None = None,
        *,
        no_more: bool = False,
    ) -> ServiceError:
        """What the caller gets who will have no answer; *late*: where it was when its deadline passed."""
        kind: type[ServiceError]
        if sent is not Sent.NO and not self._idempotent:
            kind, message = OutcomeUnknown, "no answer; the call may have run or not"
        elif late is not None:
            kind, message = DeadlineExceeded, "no answer within the deadline"
        else:
            kind, message = Unavailable, "the link was lost"
            message += ", and the retry budget is spent" if no_more else ""
        refusal = self._not_running() if gate is None or gate.live is not None else gate.refusal()
        error = kind(
            refusal.service if gate is None else gate.service,
            f"{message} ({sentence(why)})",
            state="" if gate is None else gate.state.name,
            retry_after=refusal.retry_after,
            cause=why,
            sent=sent,
            attempt=refusal.attempt,
            since=refusal.since,
        )
        if isinstance(error, DeadlineExceeded):
            error.phase = late
        return error


def _deadline(timeout: float) -> float:
    if not 0 < timeout < math.inf:
        raise ValueError(f"timeout must be more than 0 s and finite, not {timeout!r}")
    return timeout
