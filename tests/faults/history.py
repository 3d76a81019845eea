"""The history of a run: every call as it was invoked and as it ended, with a value nobody else uses."""

import enum
import math
from collections.abc import Awaitable, Callable

import attrs
import trio

from resprout.runtime.errors import Sent, ServiceError


class Kind(enum.Enum):
    """What a call asks for, and so what its answer means."""

    ASK = "ask"
    """Its answer has to be its own value. Running it twice does no harm."""
    WRITE = "write"
    """Its value is on the server if it is answered. To run it twice is wrong."""
    COUNT = "count"
    """Adds one to a counter and is answered with the new count. To run it twice is wrong."""


class Outcome(enum.Enum):
    """How a call ended, as its caller was told."""

    OK = "ok"
    FAILED = "failed"
    """Nothing was done: a typed error says so, or the server itself said no."""
    UNKNOWN = "unknown"
    """It may have run or not: a typed error says so, or the caller left before the answer."""


@attrs.define(kw_only=True)
class Call:
    """One call. Moments are seconds on the trio clock.

    Attributes:
        caller: Who asks.
        kind: What for.
        value: Unique to this call; what it writes, or what its answer has to be.
        invoked_at: When it began.
        deadline: When it has to be over.
        outcome: None while it runs.
        ended_at: When it was over.
        reply: What it was answered, as text.
        error: What it raised, as text.
        typed: False if that was no error a caller can be prepared for.
        cancelled: Its caller left.
    """

    caller: str
    kind: Kind
    value: str
    invoked_at: float = 0.0
    deadline: float = math.inf
    outcome: Outcome | None = None
    ended_at: float | None = None
    reply: str | None = None
    error: str = ""
    typed: bool = True
    cancelled: bool = False


@attrs.define
class History:
    """Writes down calls.

    Attributes:
        refusals: Errors by which the server itself says no.
        calls: All calls, in the order in which they were invoked.
    """

    refusals: tuple[type[Exception], ...] = ()
    calls: list[Call] = attrs.field(factory=list)

    async def call(
        self,
        caller: str,
        kind: Kind,
        value: str,
        ask: Callable[[], Awaitable[object]],
        *,
        timeout: float,
        patience: float = math.inf,
    ) -> Call:
        """Make a call whose limit is *timeout*, and leave it after *patience* seconds."""
        now = trio.current_time()
        call = Call(
            caller=caller, kind=kind, value=value, invoked_at=now, deadline=now + min(timeout, patience)
        )
        self.calls.append(call)
        with trio.move_on_after(patience) as scope:
            await self._book(call, ask)
        call.cancelled = scope.cancelled_caught
        return call

    async def _book(self, call: Call, ask: Callable[[], Awaitable[object]]) -> None:
        call_ended = Outcome.UNKNOWN  # As long as nobody says anything else: it was cancelled.
        try:
            call.reply = _text(await ask())
            call_ended = Outcome.OK
        except ServiceError as error:
            call_ended = Outcome.FAILED if error.sent is Sent.NO else Outcome.UNKNOWN
            call.error = repr(error)
        except self.refusals as error:
            call_ended = Outcome.FAILED
            call.error = repr(error)
        except Exception as error:  # noqa: BLE001 - no caller can be prepared for it; the judge will say so.
            call.typed = False
            call.error = repr(error)
        finally:
            call.outcome, call.ended_at = call_ended, trio.current_time()


def _text(reply: object) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)
