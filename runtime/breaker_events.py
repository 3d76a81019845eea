"""What a circuit breaker tells: the event of a change, figures that only grow, and listeners that cannot harm it.

Two ways to hear of a change. *emit* is for the event stream of a runtime: called at once, after the change. A
listener (`CircuitBreaker.subscribe`) is called a little later, from outside of any call, so that it may be slow
to return, raise, or use the breaker itself. Whatever either raises stays here.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import structlog
import trio

from resprout.runtime.breaker_rules import BreakerState, Closed, Open
from resprout.runtime.events import Event

MAX_UNHEARD: Final = 100
"""Changes that may wait for the listeners; then the oldest is dropped and counted."""


@attrs.frozen(kw_only=True)
class BreakerChanged(Event):
    """The breaker in front of *service* went from one state to another."""

    service: str
    old: BreakerState
    new: BreakerState
    why: str

    def log_level(self) -> str:
        """A breaker that opens for a reason is trouble; one that stays open after a probe is none that is new."""
        return "warning" if isinstance(self.new, Open) and isinstance(self.old, Closed) else "info"


Listener = Callable[[BreakerChanged], None]


@attrs.define
class BreakerStats:
    """What has passed since the breaker was made; for metrics, so only ever growing.

    Attributes:
        succeeded, failed, ignored, cancelled: Calls that were let through and have ended, late ones too.
        slow: Calls that took too long, counted when they did.
        rejected: Calls that were not let through.
        late: Results of an earlier generation, which changed nothing.
        would_open: How often a rule was met while an operator had it count only.
        transitions: Changes of state, by the names of the old and the new one.
        open_seconds: Time spent `open` or `forced_open`, without the present one; see `seconds_open`.
        unheard: Changes that listeners were not told of, since too many waited.
    """

    succeeded: int = 0
    failed: int = 0
    slow: int = 0
    ignored: int = 0
    cancelled: int = 0
    rejected: int = 0
    late: int = 0
    would_open: int = 0
    transitions: dict[tuple[str, str], int] = attrs.field(factory=dict)
    open_seconds: float = 0.0
    unheard: int = 0


class Audience:
    """Whoever wants to hear of changes."""

    def __init__(self, service: str, emit: Callable[[Event], None] | None) -> None:
        self.emit = emit
        self._log = structlog.get_logger("resprout").bind(service=service)
        self._listeners: tuple[Listener, ...] = ()
        self._unheard: deque[BreakerChanged] = deque()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* after each change from now on; returns a function that ends it."""
        self._listeners = (*self._listeners, listener)
        return lambda: self._remove(listener)

    def tell(self, event: BreakerChanged) -> int:
        """Tell everybody; returns how many changes had to be dropped for it."""
        if self.emit is not None:
            try:
                self.emit(event)
            except Exception as error:  # noqa: BLE001 - whatever an observer raises is its own failure.
                self._log.error("emit of a circuit breaker raised", error=repr(error))
        if not self._listeners:
            return 0
        if not self._unheard:
            trio.lowlevel.current_trio_token().run_sync_soon(self._tell_listeners)
        self._unheard.append(event)
        if len(self._unheard) <= MAX_UNHEARD:
            return 0
        self._unheard.popleft()
        return 1

    def _tell_listeners(self) -> None:
        events, self._unheard = self._unheard, deque()
        for event in events:
            for listener in self._listeners:
                try:
                    listener(event)
                except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - it would end the run.
                    self._remove(listener)
                    self._log.error(
                        "listener of a circuit breaker raised and was removed",
                        listener=repr(listener),
                        error=repr(error),
                    )

    def _remove(self, listener: Listener) -> None:
        self._listeners = tuple(other for other in self._listeners if other is not listener)
