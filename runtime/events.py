"""What happens is data: frozen attrs classes on one stream.

Logs, metrics, the console and tests subscribe; the code that reports an event does not know who listens.
Each package defines its own events as subclasses of `Event`, next to the code that emits them.
"""

from collections.abc import Callable
from typing import ClassVar

import attrs
import trio


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened to the actor at path *actor*. *level* is the log level it is worth."""

    level: ClassVar[str] = "info"

    actor: str

    def log_level(self) -> str:
        """The log level of this one: *level*, unless it depends on what happened."""
        return self.level


Subscriber = Callable[[Event], None]


class EventStream:
    """Hands each event to every subscriber, in order, at once.

    Subscribers are plain functions that must not block. One that raises is removed: an observer never harms
    what it observes. Its error is kept in `broken` and passed to the others as `SubscriberFailed`.
    """

    def __init__(self, fatal: Callable[[BaseException], None] | None = None) -> None:
        """*fatal* is told what a subscriber raised that is no `Exception`: `SystemExit`, for one."""
        self._subscribers: tuple[Subscriber, ...] = ()
        self._fatal = fatal
        self.broken: list[tuple[Subscriber, BaseException]] = []

    @property
    def heard(self) -> bool:
        """Whether anybody listens: spares making events that nobody would see."""
        return bool(self._subscribers)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call *subscriber* with every event from now on; returns a function that ends the subscription."""
        self._subscribers = (*self._subscribers, subscriber)
        return lambda: self._remove(subscriber)

    def emit(self, event: Event) -> None:
        """Tell every subscriber; costs one comparison while nobody listens."""
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever an observer raises is its own failure.
                self._remove(subscriber)
                self.broken.append((subscriber, error))
                self.subscriber_failed(subscriber, error)

    def subscriber_failed(self, subscriber: object, error: BaseException) -> None:
        """Tell the others that *subscriber*, of this stream or of one actor's trace, raised and was removed."""
        if self._fatal is not None and not isinstance(error, Exception):
            self._fatal(error)
        self.emit(SubscriberFailed(actor="", subscriber=repr(subscriber), error=error))

    def _remove(self, subscriber: Subscriber) -> None:
        self._subscribers = tuple(other for other in self._subscribers if other is not subscriber)


@attrs.frozen(kw_only=True)
class SubscriberFailed(Event):
    """A subscriber of the event stream raised and was removed."""

    level = "error"

    subscriber: str
    error: BaseException
