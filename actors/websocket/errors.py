"""What producers of messages, and the law of the queue, can raise."""

from resprout.runtime.errors import ResproutError, ServiceError


class QueueFull(ServiceError):
    """The store holds as many undelivered messages as it may. Nothing was stored; try again after *retry_after*.

    Attributes:
        stream: The stream that is full; None if the queue as a whole is.
        limit: How many messages, or bytes, may wait there.
    """

    def __init__(
        self, service: str, *, stream: str | None, limit: int, unit: str, retry_after: float = 1.0
    ) -> None:
        where = "the queue" if stream is None else f"stream {stream!r}"
        super().__init__(
            service, f"{where} is full ({limit} {unit} wait)", state="full", retry_after=retry_after
        )
        self.stream, self.limit = stream, limit


class ConservationBroken(ResproutError):
    """The books of the queue do not balance: a message was lost or counted twice. A bug, never an outage."""


class StreamChanged(ResproutError):
    """The stream has another epoch than the caller thinks: its store was emptied. Open it anew."""

    def __init__(self, stream: str, epoch: str) -> None:
        super().__init__(f"stream {stream!r} is no longer in epoch {epoch!r}")
        self.stream, self.epoch = stream, epoch
