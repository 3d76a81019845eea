"""What can go wrong, one class per thing a caller can do about it.

Two families. `ActorError`: the actor behind a ref did not answer. `ServiceError`: a remote service could not
be used, raised by the clients of connections, with the facts a caller needs to decide what to do next.
"""

import enum

from resprout.runtime.exits import Crashed, ExitReason
from resprout.runtime.telling import sentence


class ResproutError(Exception):
    """Base of every error this library raises on purpose."""


class TreeError(ResproutError, ValueError):
    """A tree is described wrongly. Raised before anything starts; names the child's path and the fix."""


class ActorError(ResproutError):
    """The actor at *actor* (a path such as ``app/redis``) did not answer."""

    def __init__(self, actor: str, message: str) -> None:
        super().__init__(message)
        self.actor = actor


class ActorCrashed(ActorError):
    """The actor crashed while it handled this message. The message is not tried again; the actor restarts."""

    def __init__(self, actor: str, cause: BaseException) -> None:
        super().__init__(actor, f"{actor} crashed while handling the message: {sentence(cause)}")
        self.cause = cause


class ActorStopped(ActorError):
    """The actor has ended for good, or was never there. It did not handle the message."""

    def __init__(self, actor: str, reason: ExitReason) -> None:
        super().__init__(actor, f"{actor} has stopped ({reason}); look it up again or start it")
        self.reason = reason


class ActorNotRunning(ActorError):
    """The actor is between two incarnations, or this one ended before it came to the order. Ask again."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, f"{actor} does not run now, it may be restarting; ask again when it does")


class MailDropped(ActorError):
    """The actor crashed, and its mail is not kept over a restart. This message did not run; send it again."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, f"{actor} restarts and drops the mail that waited; send the message again")


class StateError(ResproutError, ValueError):
    """The state cannot be replaced by this. Nothing was changed."""


class CallTimeoutError(ActorError, TimeoutError):
    """No reply came in time. A waiting message is withdrawn; one in work runs on, its reply dropped."""

    def __init__(self, actor: str, timeout: float, *, started: bool) -> None:
        outcome = (
            "it is still at work on the message" if started else "the message was withdrawn and never ran"
        )
        super().__init__(actor, f"{actor} sent no reply within {timeout:g} s; {outcome}")
        self.timeout, self.started = timeout, started


class MailboxFull(ActorError):
    """The mailbox has no room and its overflow rule is to reject. The message was not queued."""

    def __init__(self, actor: str, capacity: int) -> None:
        self.actor, self.capacity = actor, capacity

    def __str__(self) -> str:  # Made only if somebody reads it: senders meet this error all the time.
        return f"the mailbox of {self.actor} is full ({self.capacity} messages); wait and send again"


class StashFull(ActorError):
    """The actor has put aside as many messages as its mailbox holds. Uncaught, this crashes it.

    What was put aside goes back into the mailbox and survives the crash; this message does not.
    """

    def __init__(self, actor: str, capacity: int) -> None:
        super().__init__(
            actor,
            f"{actor} has put aside {capacity} messages and may not put aside more; unstash() them in time",
        )
        self.capacity = capacity


class SelfCallError(ActorError):
    """An actor called itself, which could only end in a timeout. Call the method directly, or cast."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, f"{actor} called itself; call the method directly or use cast")


class UnknownMessageError(ActorError):
    """The actor has no such public async method, or does not take these arguments. It did not run."""

    def __init__(self, actor: str, message: str, why: str) -> None:
        super().__init__(actor, f"{actor} cannot handle {message}: {why}")


class LinkedExit(ActorError):
    """Crashes an actor because one it is linked to, or a child it spawned, ended uncleanly."""

    def __init__(self, actor: str, reason: ExitReason) -> None:
        super().__init__(actor, f"{actor}, which this actor is linked to, ended: {reason}")
        self.reason = reason


class StartFailed(ActorError):
    """The actor at *actor* did not start; nothing of it is left behind."""

    def __init__(self, actor: str, reason: ExitReason) -> None:
        below = reason.error if isinstance(reason, Crashed) else None
        why = f"because {below}" if isinstance(below, StartFailed) else f": {reason}"
        super().__init__(actor, f"{actor} did not start {why}".replace(" :", ":"))
        self.reason = reason
        if isinstance(reason, Crashed):
            self.__cause__ = reason.error


class Ignore(ResproutError):
    """Raise it in `on_start`, or in what makes the actor, to decline the start: *why* is for people.

    No failure: the supervisor goes on as if the child were there, and keeps it, stopped.
    """

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why


class StartTimeout(ActorError, TimeoutError):
    """`on_start` did not return in time and was cancelled."""

    def __init__(self, actor: str, timeout: float) -> None:
        super().__init__(
            actor, f"on_start of {actor} took more than {timeout:g} s; it must not wait for a remote"
        )
        self.timeout = timeout


class NameTakenError(ActorError):
    """Another actor holds this name."""

    def __init__(self, actor: str, name: str, holder: str) -> None:
        super().__init__(actor, f"{actor} cannot take the name {name!r}: {holder} holds it; choose another")
        self.name, self.holder = name, holder


class NotFoundError(ActorError, LookupError):
    """Nothing is registered under this name, or no runtime is running here."""


class ReplyError(ResproutError):
    """Base of errors that are an answer: raised in a handler, it goes to the caller and the actor lives on.

    Any other exception crashes the actor. Derive from this for business errors such as "no such user".
    """


class Sent(enum.Enum):
    """Whether a request reached the service: decides if it may be tried again."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class Phase(enum.Enum):
    """How far a request had come when its deadline passed: what was slow."""

    QUEUE = "queue"
    """It stood in line behind others, on this side."""
    CONNECT = "connect"
    """There was no connection."""
    WRITE = "write"
    """It had a connection, and had not left whole."""
    READ = "read"
    """It was with the service, as far as can be known from here: the answer was awaited."""


class ServiceError(ReplyError):
    """A service could not be used.

    Attributes:
        service: Name of the service, such as ``redis``.
        state: What the connection was doing, such as ``backing_off``; empty if unknown.
        retry_after: Seconds until another attempt makes sense; None if nobody knows.
        cause: The client library's error, also set as ``__cause__`` where there is one.
        sent: Whether the request was written to the service.
        attempt: Attempts to connect that have failed in a row; 0 if none has, or if it is not about that.
        since: Moment on the trio clock at which the trouble began; None if unknown.
    """

    attempt: int = 0
    since: float | None = None

    def __init__(
        self,
        service: str,
        message: str,
        *,
        state: str = "",
        retry_after: float | None = None,
        cause: BaseException | None = None,
        sent: Sent = Sent.NO,
        attempt: int = 0,
        since: float | None = None,
    ) -> None:
        super().__init__(f"{service}: {message}")
        self.service, self.state, self.retry_after = service, state, retry_after
        self.cause, self.sent, self.attempt, self.since = cause, sent, attempt, since
        self.__cause__ = cause


class Unavailable(ServiceError):
    """The service is down or its connection is not ready. Nothing was done; try again after *retry_after*."""


class DegradedReadOnly(Unavailable):
    """The service answers but only reads for now: it is a replica, or was made one. The write was not done.

    Reads go on as usual.
    """


class CircuitOpen(ServiceError):
    """The breaker in front of the service is open. Nothing was sent; try again after *retry_after*.

    Attributes:
        retry_after: Seconds, more than 0: until the breaker is tried again, or until the probe out there ends.
        cause: The service's last failure, if the breaker has seen one.
        generation: Number of the breaker's state; two errors with the same one are of the same outage.
        since: When the breaker went into this state, in seconds on the trio clock.
    """

    def __init__(
        self,
        service: str,
        message: str = "",
        *,
        state: str = "open",
        retry_after: float | None = None,
        cause: BaseException | None = None,
        generation: int = 0,
        since: float | None = None,
    ) -> None:
        # Made for every refused call, read by few: no text is made here, and `super().__init__` would make one.
        self.service, self.state, self.retry_after = service, state, retry_after
        self.cause, self.sent = cause, Sent.NO
        self.generation, self.since = generation, since
        self._message = message
        self.__cause__ = cause

    def __str__(self) -> str:
        wait = f"; try again in {self.retry_after:.3g} s" if self.retry_after is not None else ""
        last = f" (last error: {sentence(self.cause)})" if self.cause is not None else ""
        message = self._message or f"the circuit breaker is {self.state.replace('_', ' ')}{wait}{last}"
        return f"{self.service}: {message}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class PoolExhausted(ServiceError):
    """Every connection stayed in use for as long as the caller could wait. Nothing was sent."""


class DeadlineExceeded(ServiceError, TimeoutError):
    """The deadline passed before an answer came and nothing was written; or the request is safe to repeat.

    Attributes:
        phase: How far the last attempt had come; None if it was not about one request.
    """

    phase: Phase | None = None


class OutcomeUnknown(ServiceError):
    """The request was written, its answer never came: it may have run or not. Look before you repeat it."""


class Draining(ServiceError):
    """The service is being shut down on purpose and takes no new requests."""
