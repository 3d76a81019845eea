"""Events as log lines (structlog)."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import attrs
import structlog

from resprout.runtime.exits import Crashed
from resprout.runtime.lifecycle import ActorExited

if TYPE_CHECKING:
    from collections.abc import Callable

    from resprout.runtime.events import Event, EventStream


def log_events(events: EventStream) -> Callable[[], None]:
    """Write a log line for every event from now on; returns a function that ends it."""
    log = structlog.get_logger("resprout")

    def write(event: Event) -> None:
        try:
            write_line(event)
        except Exception as error:  # noqa: BLE001 - a subscriber that raises is removed, and the log with it.
            log.error("event cannot be written", event_type=type(event).__name__, error=type(error).__name__)

    def write_line(event: Event) -> None:
        facts = attrs.asdict(event, recurse=False)
        match event:
            case ActorExited(reason=Crashed(error=error)):
                facts.pop("reason")
                log.error("ActorCrashed", error=repr(error), exc_info=error, **facts)
            case _:
                log.log(_LEVELS[event.level], type(event).__name__, **facts)

    return events.subscribe(write)


def log_to_stderr(level: str = "info") -> None:
    """Configure structlog for a service: lines on standard error. Leaves a configured structlog alone."""
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )


_LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}
