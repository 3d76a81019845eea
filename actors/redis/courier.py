"""Brings commands to the present link, waits for one or gives up, and repeats what may be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.on_down import OnDown
from resprout.actors.connection.states import Stopped
from resprout.actors.redis.link import WRONG_SERVER, RedisLink
from resprout.actors.redis.policy import CallPolicy, Verdict, judge
from resprout.actors.redis.side import NoSideLink, Use
from resprout.actors.redis.slot import NoReply
from resprout.runtime.errors import (
    DeadlineExceeded,
    DegradedReadOnly,
    OutcomeUnknown,
    Phase,
    PoolExhausted,
    Sent,
    ServiceError,
    Unavailable,
)
from resprout.runtime.telling import sentence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resprout.actors.redis.actor import RedisConnection
    from resprout.runtime.ref import Address

T = TypeVar("T")

WRONG_SERVER_PAUSE = 0.25  # Seconds until a read-only server is asked again over the same link.
LOOK_AGAIN = 0.05  # Seconds between two looks for a connection whose actor is being restarted.


class Courier:
    """Delivers to one connection under one policy.

    Attributes:
        connection: Where to find the gate.
        policy: The client's wishes.
        gate: The last gate found. Its `live` link is the fast way; None sends the caller to `deliver`.
    """

    def __init__(self, connection: Address[RedisConnection] | Gate[RedisLink], policy: CallPolicy) -> None:
        self.connection, self.policy = connection, policy
        self.gate = connection if isinstance(connection, Gate) else None

    async def deliver(
        self,
        send: Callable[[RedisLink, float], Awaitable[T]],
        *,
        timeout: float,
        reads: bool,
        failed: tuple[RedisLink, Exception] | None = None,
    ) -> T:
        """Run *send* with a live link and the seconds that are left; again where the rule of replay allows.

        Args:
            timeout: Seconds for all attempts.
            reads: What is sent changes nothing on the server.
            failed: A first attempt that the caller made by itself, and its error.
        """
        deadline = trio.current_time() + timeout
        sent = Sent.NO
        if failed is not None:
            sent, deadline = await self._after_failure(*failed, sent, reads=reads, deadline=deadline)
        while True:
            link = await self._link(deadline, Sent.NO if reads else sent)
            try:
                reply = await send(link, max(0.0, deadline - trio.current_time()))
            except (NoReply, *WRONG_SERVER) as error:
                sent, deadline = await self._after_failure(link, error, sent, reads=reads, deadline=deadline)
            except NoSideLink as error:
                await self._without_side_link(link, error, Sent.NO if reads else sent, deadline)
            else:
                self.succeeded(link)
                return reply

    async def deliver_aside(
        self,
        send: Callable[[RedisLink, float], Awaitable[T]],
        *,
        timeout: float,
        reads: bool,
        use: Use = Use.WORK,
    ) -> T:
        """As `deliver`, but *send* gets a link that nobody else uses, beside the shared one."""

        async def aside(link: RedisLink, seconds: float) -> T:
            deadline = trio.current_time() + seconds
            if link.side is None:
                raise NoSideLink("this connection was made without others beside it")
            async with link.side.lend(deadline, use) as own:
                try:
                    return await send(own, max(0.0, deadline - trio.current_time()))
                except WRONG_SERVER as error:
                    link.refused(error)
                    raise
                except ResponseError as error:
                    if link.side.leaving and use is Use.WAIT and str(error).startswith("UNBLOCKED"):
                        raise NoReply(error, Sent.NO, deadline) from error  # As good as never sent.
                    raise

        return await self.deliver(aside, timeout=timeout, reads=reads)

    def succeeded(self, link: RedisLink) -> None:
        """A real reply came over *link*."""
        link.proven = True
        if self.gate is not None:
            self.gate.succeeded()

    def answered(self, error: Exception) -> None:
        """The server answered with *error*: it is alive. Without memory it serves reads, so no more than that."""
        gate = self.gate
        if gate is None or gate.live is None:
            return
        if isinstance(error, OutOfMemoryError):
            gate.impaired(gate.live, sentence(error))
        else:
            gate.succeeded()

    async def _after_failure(
        self, link: RedisLink, error: Exception, before: Sent, *, reads: bool, deadline: float
    ) -> tuple[Sent, float]:
        """Raise what the caller gets for *error*, or return if another attempt may follow.

        What an attempt *before* this one has written stays written: the mark never goes back to unsent.
        """
        if not isinstance(error, NoReply):
            await self._after_refusal(link, error, before, deadline)
            return before, deadline
        sent = before if error.sent is Sent.NO else error.sent
        expired = error.expired or trio.current_time() >= error.deadline
        if self.gate is not None and not link.live:  # A link beside it may be lost alone.
            self.gate.lost(link, error.why)
        elif self.gate is not None and error.sent is not Sent.NO:
            link.proven = False  # So that the next reply is reported.
            self.gate.failed(error.why)
        verdict = judge(sent, repeatable=reads or self.policy.idempotent, expired=expired)
        if verdict is not Verdict.AGAIN:
            raise self._given_up(verdict, error.why, sent, error.phase)
        return sent, error.deadline

    async def _after_refusal(self, link: RedisLink, error: Exception, sent: Sent, deadline: float) -> None:
        """The server ran nothing because it is the wrong one. Return when another attempt makes sense."""
        assert self.gate is not None, "there was a link, so there was a gate"
        if not link.live:
            self.gate.lost(link, error)
            return
        self.gate.impaired(link, str(error))
        await self._pause(error, sent, deadline)

    async def _without_side_link(
        self, link: RedisLink, error: NoSideLink, sent: Sent, deadline: float
    ) -> None:
        """There is no connection beside *link*. Return when another attempt makes sense."""
        if error.full:
            raise PoolExhausted(self.service, str(error), sent=sent)
        if self.gate is not None and self.gate.held is link:  # Else another is there, or soon, or never.
            await self._pause(error.why, sent, deadline)

    async def _pause(self, error: Exception, sent: Sent, deadline: float) -> None:
        """Sleep a little before another attempt over the same link, if the caller waits for that."""
        if self.policy.on_down is not OnDown.WAIT or trio.current_time() + WRONG_SERVER_PAUSE >= deadline:
            kind = DegradedReadOnly if isinstance(error, ReadOnlyError) else Unavailable
            raise kind(
                self.service,
                str(error),
                state="" if self.gate is None else self.gate.state.name,
                retry_after=WRONG_SERVER_PAUSE,
                cause=error,
                sent=sent,
            )
        await trio.sleep(WRONG_SERVER_PAUSE)

    def _given_up(
        self, verdict: Verdict, why: Exception, sent: Sent, phase: Phase | None = None
    ) -> ServiceError:
        state, retry_after = "", None
        if self.gate is not None:
            state, retry_after = self.gate.state.name, self.gate.refusal().retry_after
        kind: type[ServiceError]
        if verdict is Verdict.TOO_LATE:
            kind, message = DeadlineExceeded, f"no reply within the deadline ({why})"
        else:
            kind, message = OutcomeUnknown, f"no reply; the command may have run or not ({why})"
        given_up = kind(self.service, message, state=state, retry_after=retry_after, cause=why, sent=sent)
        if isinstance(given_up, DeadlineExceeded):
            given_up.phase = phase
        return given_up

    async def _link(self, deadline: float, sent: Sent) -> RedisLink:
        """The live link; *sent* says what happened to the command before."""
        try:
            if self.policy.on_down is OnDown.WAIT:
                return await self.wait_link(deadline)
            return self._find().link()
        except ServiceError as error:
            if sent is Sent.NO:
                raise
            raise self._given_up(Verdict.UNKNOWN, error, sent) from error

    async def present(self, deadline: float) -> RedisLink:
        """The live link, had as on_down says."""
        return await self._link(deadline, Sent.NO)

    async def wait_link(self, deadline: float) -> RedisLink:
        """The live link as soon as there is one, whatever on_down says."""
        while True:
            try:
                return await self._find().wait_link(deadline)
            except Unavailable:
                if not self._may_be_replaced() or trio.current_time() + LOOK_AGAIN >= deadline:
                    raise
            await trio.sleep(LOOK_AGAIN)

    def _may_be_replaced(self) -> bool:
        """Whether there is no gate, or one of the past: a restart brings another."""
        gate = self.gate
        return gate is None or (gate is not self.connection and isinstance(gate.state, Stopped))

    def _find(self) -> Gate[RedisLink]:
        """The gate of the connection's present incarnation."""
        if not isinstance(self.connection, Gate):
            self.gate = self.connection.offered(Gate)
        if self.gate is None:
            raise Unavailable(self.service, "its actor is not running", state="restarting", retry_after=0.25)
        return self.gate

    @property
    def service(self) -> str:
        """The connection's name in errors."""
        return "redis" if self.gate is None else self.gate.service
