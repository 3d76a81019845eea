"""Events as log lines (structlog)."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING

import attrs
import structlog
import trio

from resprout.runtime.errors import StartFailed
from resprout.runtime.exits import Crashed
from resprout.runtime.lifecycle import ActorExited
from resprout.runtime.telling import plain, sentence
from resprout.runtime.thinning import Thinning
from resprout.runtime.watchdog import LoopBlocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from resprout.runtime.events import Event, EventStream


def log_events(events: EventStream) -> Callable[[], None]:
    """Write log lines for the events from now on; returns a function that ends it.

    A line says what happened, where in the tree, and the event's facts. A crash carries its traceback, once,
    and without the values of variables, which may be secrets. Warnings and errors that say the same again and
    again are thinned out until there is good news from the same actor; the next one that is written says how
    many were held back: ``repeated``.
    """
    log = structlog.get_logger("resprout")
    thinning = Thinning()

    def write(event: Event) -> None:
        if isinstance(event, LoopBlocked):
            return  # The watchdog has written it already, while this could not.
        try:
            level = event.log_level()
            name, facts = _line(event)
            held: int | None = 0
            if level in _TROUBLE:
                held = thinning.admit(_sameness(name, facts), trio.current_time())
            elif level == "info":
                thinning.forget(event.actor)
            if held is not None:
                log.log(_LEVELS[level], name, **facts, **({"repeated": held} if held else {}))
        except Exception as error:  # noqa: BLE001 - a subscriber that raises is removed, and the log with it.
            log.error("event cannot be written", event_type=type(event).__name__, error=type(error).__name__)

    return events.subscribe(write)


def log_to_stderr(level: str = "info") -> None:
    """Configure structlog for a service: lines on standard error, tracebacks without values of variables.

    Leaves a configured structlog alone.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.dev.ConsoleRenderer(
                    colors=sys.stderr.isatty(),
                    sort_keys=False,
                    exception_formatter=structlog.dev.plain_traceback,
                ),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )


def _line(event: Event) -> tuple[str, dict[str, object]]:
    """What to write for *event*: a word and facts, the place in the tree first."""
    facts: dict[str, object] = {"actor": event.actor}
    given = attrs.asdict(event, recurse=False)
    if given.get("report", "") is None:
        del given["report"]
    if "service" in given:
        facts["service"] = given["service"]
    match event:
        case ActorExited(reason=Crashed(error=error)):
            facts |= {"error": sentence(error).partition("\n")[0], "message": event.message}
            facts |= {"generation": event.generation}
            if event.report is not None:
                facts["stack"] = str(event.report)  # Which is shown below the line.
            if not isinstance(error, StartFailed):  # Which says that another did not start: its line has it.
                facts["exception"] = "".join(traceback.format_exception(error)).rstrip()
            return "ActorCrashed", facts
        case _:
            for name, value in given.items():
                told = plain(value)
                is_block = isinstance(told, str) and "\n" in told  # "stack" is shown below the line.
                facts.setdefault("stack" if is_block else name, told)
            return type(event).__name__, facts


def _sameness(name: str, facts: dict[str, object]) -> tuple[str, ...]:
    """Equal for lines that tell a reader the same: all their words, without the numbers."""
    words = (
        value for key, value in facts.items() if key not in ("exception", "stack") and isinstance(value, str)
    )
    return (str(facts["actor"]), name, *(_NUMBER.sub("#", word) for word in words))


_TROUBLE = ("warning", "error")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}
