"""Traces, logs and statistics of one place in the tree, for as long as somebody wants them.

An actor that is observed has other handlers than one that is not, so that one that is not pays nothing.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resprout.runtime.actor import Handler
    from resprout.runtime.events import EventStream

DEFAULT_LOG = 10
DEFAULT_TRACE = 1_000
MOST_LOGGED = 10_000


class TraceKind(enum.Enum):
    """What happened."""

    BEGIN = "begin"  # A message is taken from the mailbox.
    DONE = "done"  # Its method has returned or raised.
    SIGNAL = "signal"  # A notice arrived in `on_signal`.


@attrs.frozen(kw_only=True)
class TraceEvent:
    """One step of a traced actor.

    Attributes:
        at: When, on the trio clock.
        actor: Its path.
        what: Whether a message begins, is done, or a notice arrived.
        method: The message's name, or the notice's class.
        args: Its arguments, as they were sent; they may hold secrets.
        kwargs: See there.
        seconds: How long the method took; None if it has just begun.
        error: What it raised, if it did.
    """

    at: float
    actor: str
    what: TraceKind
    method: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = attrs.field(factory=dict)
    seconds: float | None = None
    error: BaseException | None = None


@attrs.frozen(kw_only=True)
class Statistics:
    """What one place in the tree did from *since* to *now*, in seconds on the trio clock.

    Attributes:
        received: Messages taken from the mailbox.
        handled: Methods that returned.
        failed: Methods that raised, be it an answer (`ReplyError`) or a crash.
        signals: Notices.
        busy: Seconds spent in methods, waiting included.
    """

    since: float
    now: float
    received: int = 0
    handled: int = 0
    failed: int = 0
    signals: int = 0
    busy: float = 0.0


class Observer:
    """Whatever is wanted of one place: hooks, a log, statistics."""

    def __init__(self, path: str, events: EventStream) -> None:
        self._path, self._events = path, events
        self._hooks: dict[Callable[[TraceEvent], None], int] = {}  # With how many events are left to each.
        self._log: deque[TraceEvent] | None = None
        self._counted: Statistics | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is wanted any more."""
        return not self._hooks and self._log is None and self._counted is None

    def add_hook(self, hook: Callable[[TraceEvent], None], limit: int) -> None:
        """Call *hook* with the next *limit* events. Raises `ValueError` if that is none."""
        if limit < 1:
            raise ValueError(f"a trace needs a limit of at least 1 event, not {limit!r}")
        self._hooks[hook] = limit

    def remove_hook(self, hook: Callable[[TraceEvent], None]) -> None:
        """Call it no more."""
        self._hooks.pop(hook, None)

    def keep_log(self, size: int) -> None:
        """Keep the last *size* events. Raises `ValueError` if that is too many."""
        if not 0 <= size <= MOST_LOGGED:
            raise ValueError(f"a log holds 0 to {MOST_LOGGED} events, not {size!r}")
        self._log = deque(self._log or (), maxlen=size) if size else None

    @property
    def logged(self) -> tuple[TraceEvent, ...]:
        """The events kept, oldest first."""
        return tuple(self._log or ())

    def start_counting(self) -> None:
        """Count, from zero."""
        now = trio.current_time()
        self._counted = Statistics(since=now, now=now)

    def stop_counting(self) -> None:
        """Count no more."""
        self._counted = None

    @property
    def statistics(self) -> Statistics | None:
        """What was counted until now."""
        return attrs.evolve(self._counted, now=trio.current_time()) if self._counted is not None else None

    def observed(self, handlers: Mapping[str, Handler]) -> Mapping[str, Handler]:
        """*handlers*, each of which tells this observer what it does."""
        return {name: self._wrap(name, handler) for name, handler in handlers.items()}

    def _wrap(self, name: str, handler: Handler) -> Handler:
        def observed(*args: object, **kwargs: object) -> object:
            # Made here, so that wrong arguments are refused before anything is told, as without observer.
            return self._run(name, handler(*args, **kwargs), args[1:], kwargs)

        return observed  # type: ignore[return-value] # a coroutine, as of the handler.

    async def _run(
        self, name: str, work: object, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        begun = trio.current_time()
        self._tell(TraceKind.BEGIN, name, args, kwargs)
        error: BaseException | None = None
        try:
            return await work  # type: ignore[misc] # the coroutine that `_wrap` made.
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._tell(TraceKind.DONE, name, args, kwargs, trio.current_time() - begun, error)

    def signal(self, signal: object) -> None:
        """A notice is about to be handled."""
        self._tell(TraceKind.SIGNAL, type(signal).__name__, (signal,), {})

    def _tell(
        self,
        what: TraceKind,
        method: str,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        seconds: float | None = None,
        error: BaseException | None = None,
    ) -> None:
        event = TraceEvent(
            at=trio.current_time(),
            actor=self._path,
            what=what,
            method=method,
            args=args,
            kwargs=kwargs,
            seconds=seconds,
            error=error,
        )
        if self._counted is not None:
            self._counted = count(self._counted, event)
        if self._log is not None:
            self._log.append(event)
        for hook, left in tuple(self._hooks.items()):
            self._call(hook, left, event)

    def _call(self, hook: Callable[[TraceEvent], None], left: int, event: TraceEvent) -> None:
        if left > 1:
            self._hooks[hook] = left - 1
        else:
            del self._hooks[hook]
        try:
            hook(event)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - an observer never harms what it observes.
            self._hooks.pop(hook, None)
            self._events.subscriber_failed(hook, error)


def count(so_far: Statistics, event: TraceEvent) -> Statistics:
    """*so_far* and *event*: pure."""
    match event:
        case TraceEvent(what=TraceKind.BEGIN):
            return attrs.evolve(so_far, received=so_far.received + 1)
        case TraceEvent(what=TraceKind.SIGNAL):
            return attrs.evolve(so_far, signals=so_far.signals + 1)
        case TraceEvent(seconds=seconds, error=error):
            return attrs.evolve(
                so_far,
                handled=so_far.handled + (error is None),
                failed=so_far.failed + (error is not None),
                busy=so_far.busy + (seconds or 0.0),
            )
