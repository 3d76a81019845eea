"""Events in the life of an actor."""

from typing import assert_never

import attrs

from resprout.runtime.crashreport import CrashReport
from resprout.runtime.events import Event
from resprout.runtime.exits import Crashed, ExitReason, Ignored, Killed, Normal, Shutdown


@attrs.frozen(kw_only=True)
class ActorStarted(Event):
    """`on_start` returned; *generation* counts the incarnations of this place in the tree, from 1."""

    level = "debug"

    generation: int


@attrs.frozen(kw_only=True)
class ActorExited(Event):
    """An incarnation ended. *message* is the one it was working on, by name, if any.

    *expected* tells an end that was asked for, or that its child spec allows it, from one that is news: a crash;
    a kill, unless by `BRUTAL_KILL`; a permanent child that ended by itself just when it was told to stop.
    *report* tells all that is known of a crash, or of a kill that is news; None for any other end.
    """

    generation: int
    reason: ExitReason
    message: str | None
    expected: bool = False
    report: CrashReport | None = attrs.field(default=None, eq=False, repr=False)

    def log_level(self) -> str:
        """Ends in good order are no news: who asked for them knows. A refusal to start is told once."""
        if self.expected:
            return "info" if isinstance(self.reason, Ignored) else "debug"
        match self.reason:
            case Crashed():
                return "error"
            case Killed() | Normal() | Shutdown():
                return "warning"
            case _:
                assert_never(self.reason)


@attrs.frozen(kw_only=True)
class ActorRestarting(Event):
    """A new incarnation follows after *delay* seconds; *restarts* counts them."""

    level = "warning"

    restarts: int
    delay: float


@attrs.frozen(kw_only=True)
class ActorStuck(Event):
    """The actor was cancelled *after* seconds ago and still runs; *stack* shows where, innermost last.

    Reported again, after growing times, for as long as it lives; *count* is 1 the first time.
    """

    level = "error"

    after: float
    stack: str
    count: int = 1


@attrs.frozen(kw_only=True)
class StuckActorEnded(Event):
    """An actor that was reported as stuck has ended after all, *after* seconds after it was cancelled."""

    after: float


@attrs.frozen(kw_only=True)
class AlarmFailed(Event):
    """What the runtime does for this actor at a certain moment raised *error*; the actor crashes, if it runs."""

    level = "error"

    error: Exception


@attrs.frozen(kw_only=True)
class MessageLost(Event):
    """A message will never be handled (a dead letter): its *method*, and *why*."""

    level = "warning"

    method: str
    why: str


@attrs.frozen(kw_only=True)
class CastFailed(Event):
    """A cast was answered with an error that nobody waits for."""

    level = "warning"

    method: str
    error: Exception
