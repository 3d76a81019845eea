"""What the queue and the server report."""

import attrs

from resprout.runtime.errors import ServiceError
from resprout.runtime.events import Event


@attrs.frozen(kw_only=True)
class SessionStarted(Event):
    """A client of *stream* is connected, and gets everything after sequence *start*."""

    level = "debug"

    stream: str
    user: str
    start: int


@attrs.frozen(kw_only=True)
class SessionEnded(Event):
    """A client's session is over after *seconds*; *code* is the WebSocket's close code."""

    level = "debug"

    stream: str
    user: str
    code: int
    reason: str
    seconds: float


@attrs.frozen(kw_only=True)
class MessageFailed(Event):
    """A connected client could not deal with a message, *failures* times by now."""

    level = "warning"

    stream: str
    seq: int
    id: str
    reason: str
    failures: int


@attrs.frozen(kw_only=True)
class MessageDied(Event):
    """A message went to the dead letters of *stream*; redrive it once the reason is gone."""

    level = "error"

    stream: str
    seq: int
    id: str
    reason: str


@attrs.frozen(kw_only=True)
class StreamReset(Event):
    """A client had messages of *stream* that the store does not know: the store lost some. Look at its disk."""

    level = "error"

    stream: str
    epoch: str


@attrs.frozen(kw_only=True)
class StoreWeak(Event):
    """The store could lose messages it accepted, by *weakness*."""

    level = "warning"

    store: str
    weakness: str


@attrs.frozen(kw_only=True)
class StoreAway(Event):
    """The store could not be used just now; what needs it is tried again."""

    level = "warning"

    store: str
    error: Exception

    def log_level(self) -> str:
        """A first attempt to connect that still runs is no trouble yet."""
        error = self.error
        is_first = isinstance(error, ServiceError) and error.state == "connecting" and error.cause is None
        return "debug" if is_first else self.level


@attrs.frozen(kw_only=True)
class ConnectionRefused(Event):
    """A connection was turned away before it had a session; *address* is who asked."""

    level = "warning"

    address: str
    reason: str


@attrs.frozen(kw_only=True)
class ConnectionBroken(Event):
    """A connection ended by an unexpected error below the session; the others are not concerned."""

    level = "warning"

    address: str
    error: Exception


@attrs.frozen(kw_only=True)
class LawBroken(Event):
    """The books do not balance: a message was lost or counted twice. Page somebody."""

    level = "error"

    problem: str


@attrs.frozen(kw_only=True)
class ServerListening(Event):
    """Clients can connect to *url*."""

    url: str
