"""What a connection reports."""

from collections.abc import Hashable

import attrs

from resprout.actors.connection.failure_kind import FailureKind
from resprout.actors.connection.repeats import is_loud
from resprout.actors.connection.states import ConnectionState, Degraded, Ready
from resprout.runtime.events import Event


@attrs.frozen(kw_only=True)
class ConnectionEvent(Event):
    """Something that happened to the connection to *service*, after *repeats* others like it.

    See `resprout.actors.connection.repeats` for which of the repeats are in the log.
    """

    service: str
    repeats: int = 0

    def log_level(self) -> str:
        """Debug, but for the first of many and some of the others."""
        return self.news_level() if is_loud(self.repeats) else "debug"

    def news_level(self) -> str:
        """The log level if it is news."""
        return self.level

    def sort(self) -> Hashable:
        """What makes another event a repeat of this one."""
        return type(self).__name__


@attrs.frozen(kw_only=True)
class ConnectionChanged(ConnectionEvent):
    """The connection went from one kind of state to another."""

    old: ConnectionState
    new: ConnectionState
    why: str

    def news_level(self) -> str:
        """What else happened has an event of its own: a lost link, a failed attempt, a recovery."""
        match self.new:
            case Degraded():
                return "warning"
            case Ready(failures=0):
                return "info"
            case _:
                return "debug"

    def sort(self) -> Hashable:
        """A change to the same state."""
        return type(self).__name__, self.new.name


@attrs.frozen(kw_only=True)
class AttemptFailed(ConnectionEvent):
    """An attempt to connect failed. *attempt* failures in a row now; the next try is in *retry_after* s."""

    attempt: int
    error: Exception
    kind: FailureKind
    retry_after: float

    def news_level(self) -> str:
        """What waiting alone will not mend is an error at once."""
        return "error" if self.kind.needs_a_human else "warning"

    def sort(self) -> Hashable:
        """Another kind of failure is news."""
        return type(self).__name__, self.kind


@attrs.frozen(kw_only=True)
class LinkLost(ConnectionEvent):
    """A link that had been up for *up_for* seconds died."""

    level = "warning"

    error: Exception
    up_for: float


@attrs.frozen(kw_only=True)
class ProbeMissed(ConnectionEvent):
    """A health probe failed or was not answered in time."""

    level = "warning"

    error: Exception


@attrs.frozen(kw_only=True)
class Recovered(ConnectionEvent):
    """The connection serves again, *duration* seconds after the outage began, at its *attempt*-th try."""

    duration: float
    attempt: int


@attrs.frozen(kw_only=True)
class LinkReplaced(ConnectionEvent):
    """A new link has taken over from one that was well; that one ends when its calls are done. *why* says who asked."""

    why: str


@attrs.frozen(kw_only=True)
class RotationFailed(ConnectionEvent):
    """A link that was to be replaced stays, as no other could be made. The next try is in *retry_after* s."""

    attempt: int
    error: Exception
    kind: FailureKind
    retry_after: float

    def news_level(self) -> str:
        """As for `AttemptFailed`."""
        return "error" if self.kind.needs_a_human else "warning"

    def sort(self) -> Hashable:
        """Another kind of failure is news."""
        return type(self).__name__, self.kind
