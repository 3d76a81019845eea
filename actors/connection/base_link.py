"""A base for links of your own: around a protocol over a stream, or around a vendor's SDK.

    @attrs.define(eq=False)
    class SmtpLink(BaseLink):
        stream: trio.SocketStream

        async def ping(self) -> None: ...        # a round trip, for the health probes
        async def aclose(self) -> None: ...
        async def send(self, text: str) -> None: ...   # whatever callers want of it

Callers run its methods with `LinkClient.call`.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import ClassVar, Final

import attrs
import trio

from resprout.runtime.errors import PoolExhausted, ReplyError

MAX_IN_LINE: Final = 100


class Sharing(enum.Enum):
    """How many calls a link can carry at one time."""

    IN_TURN = "in turn"
    """One: the others stand in line. A call that is cut off leaves the link in a state nobody knows, so it is
    closed: otherwise the next caller could get this one's answer."""
    TOGETHER = "together"
    """Many: the driver keeps their answers apart, and a call can be cut off without harm to the others."""


class CutOff(ConnectionError):
    """A call ended in the middle, so the link was closed: what comes next over it could be the old answer."""


class LinkDied(ConnectionError):
    """The link died under this call."""


class NeverBegun(ConnectionError):
    """The link died before this call could begin: nothing was sent."""


@attrs.define(eq=False)
class BaseLink(ABC):
    """A link that is told when it is dead, and whose calls take turns.

    A method that callers run ends in one of four ways. It returns. It raises a `ReplyError` of yours: an answer
    such as "no such mailbox", which goes to the caller, and the service counts as alive. It raises a
    `ServiceError` of yours, such as `Unavailable(…, sent=Sent.YES)`: the service cannot do it now, the link is
    well. Or it raises anything else: then the link is dead, and a new one is made.

    Attributes:
        sharing: Whether calls take turns; a class attribute.
    """

    sharing: ClassVar[Sharing] = Sharing.IN_TURN

    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)
    _lost: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)
    _why: Exception | None = attrs.field(default=None, init=False, repr=False)
    _calls: set[trio.CancelScope] = attrs.field(factory=set, init=False, repr=False)
    _under_way: int = attrs.field(default=0, init=False, repr=False)
    _idle: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)

    @abstractmethod
    async def ping(self) -> None:
        """Make a real round trip on the real path; raise if it fails. A deadline is set around it."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close; idempotent, bounded, safe under cancellation."""

    def is_usable(self) -> bool:
        """Whether the idle link may carry another call; asked before each that takes a turn.

        For a stream, ``return is_silent(self.stream)``: a server that closed the idle link, or an answer that
        came too late, is found before anything is sent.
        """
        return True

    def tls_expiry(self) -> float | None:
        """When the peer's certificate expires, for the metrics: seconds since 1970, or None.

        Over TLS, ``return certificate_expiry(self.stream)``.
        """
        return None

    def lose(self, why: Exception) -> None:
        """Say that the link is dead, for instance from a task of the driver that reads from it.

        All calls under way or in line end at once.
        """
        if self._why is None:
            self._why = why
            self._lost.set()
            for call in self._calls:
                call.cancel()

    @property
    def why_lost(self) -> Exception | None:
        """Why the link is dead; None while it lives."""
        return self._why

    @contextmanager
    def ended_with(self, call: trio.CancelScope) -> Iterator[None]:
        """Cancel *call* if the link dies meanwhile."""
        self._calls.add(call)
        try:
            yield
        finally:
            self._calls.discard(call)

    async def wait_lost(self) -> Exception:
        """For the keeper: why, once the link is dead."""
        await self._lost.wait()
        return self._why or ConnectionError("lost")

    async def wait_idle(self) -> None:
        """For the keeper: wait until no call is under way or in line."""
        await trio.lowlevel.checkpoint()
        while self._under_way:
            await self._idle.wait()

    async def probe(self) -> None:
        """For the keeper: `ping` in turn. While a call is under way, its own deadline tells as much."""
        if self.is_taken:
            await trio.lowlevel.checkpoint()
        else:
            await self.prove()

    @property
    def is_taken(self) -> bool:
        """Whether a call has the link for itself, so that `probe` would ask nothing."""
        return self.sharing is Sharing.IN_TURN and self._turn.locked()

    async def prove(self) -> None:
        """For the keeper: `ping`, however long it takes to have a turn."""
        async with self.turn("the link"):
            await self.ping()

    @asynccontextmanager
    async def turn(self, service: str) -> AsyncIterator[None]:
        """Have the link for one call. If calls take turns and this one is cut off or fails, the link is dead.

        Raises:
            PoolExhausted: Too many stand in line.
            NeverBegun: It died meanwhile.
        """
        self._under_way += 1
        try:
            if self.sharing is Sharing.TOGETHER:
                await trio.lowlevel.checkpoint()
                yield
            else:
                async with self._in_turn(service):
                    yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                idle, self._idle = self._idle, trio.Event()
                idle.set()

    @asynccontextmanager
    async def _in_turn(self, service: str) -> AsyncIterator[None]:
        waiting = self._turn.statistics().tasks_waiting
        if waiting >= MAX_IN_LINE:
            raise PoolExhausted(service, f"{waiting} calls stand in line for the link")
        async with self._turn:
            if self._why is None and not self.is_usable():
                self.lose(
                    ConnectionError("the idle link was closed by the peer, or holds what nobody asked for")
                )
            if self._why is not None:
                raise NeverBegun("the link died first") from self._why
            try:
                yield
            except ReplyError:
                raise
            except Exception as error:
                self.lose(error)
                raise
            except BaseException:
                self.lose(CutOff("a call was cut off"))
                raise
