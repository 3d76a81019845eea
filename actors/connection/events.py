"""What a connection reports."""

import enum
import socket
import ssl

import attrs
import trio

from resprout.actors.connection.states import ConnectionState, Degraded, Ready
from resprout.runtime.classify import leaves
from resprout.runtime.events import Event


class FailureKind(enum.Enum):
    """What kind of failure: a few fixed values, so that it can be a metric's label.

    NAME, TLS and SERVICE seldom go away by themselves (a wrong host, certificate or password): tell a human
    at once. The connection tries on all the same.
    """

    NETWORK = "network"
    TIMEOUT = "timeout"
    NAME = "name"
    TLS = "tls"
    SERVICE = "service"

    @property
    def needs_a_human(self) -> bool:
        """Whether waiting alone is unlikely to help."""
        return self in (FailureKind.NAME, FailureKind.TLS, FailureKind.SERVICE)


def kind_of(error: BaseException) -> FailureKind:
    """Classify why an attempt failed; a group by its first leaf.

    >>> kind_of(ConnectionRefusedError()).value, kind_of(socket.gaierror()).value
    ('network', 'name')
    """
    match next(leaves(error)):
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return FailureKind.NETWORK  # The peer went away; nothing is wrong with its certificate.
        case ssl.SSLError():
            return FailureKind.TLS
        case socket.gaierror():
            return FailureKind.NAME
        case TimeoutError() | trio.TooSlowError():
            return FailureKind.TIMEOUT
        case OSError() | EOFError() | trio.BrokenResourceError() | trio.ClosedResourceError():
            return FailureKind.NETWORK
        case _:
            return FailureKind.SERVICE


@attrs.frozen(kw_only=True)
class ConnectionEvent(Event):
    """Something that happened to the connection to *service*."""

    service: str


@attrs.frozen(kw_only=True)
class ConnectionChanged(ConnectionEvent):
    """The connection went from one kind of state to another."""

    old: ConnectionState
    new: ConnectionState
    why: str

    def log_level(self) -> str:
        """What else happened has an event of its own: a lost link, a failed attempt, a recovery."""
        match self.new:
            case Degraded():
                return "warning"
            case Ready(failures=0):
                return "info"
            case _:
                return "debug"


@attrs.frozen(kw_only=True)
class AttemptFailed(ConnectionEvent):
    """An attempt to connect failed. *attempt* failures in a row now; the next try is in *retry_after* s."""

    level = "warning"

    attempt: int
    error: Exception
    kind: FailureKind
    retry_after: float


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
