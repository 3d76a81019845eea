"""What happened in a runtime, in order and with times: for assertions, and for the errors of waits that failed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

import attrs
import trio

from resprout.runtime import ActorExited, Event, ExitReason

if TYPE_CHECKING:
    from resprout.runtime import Snapshot, System

E = TypeVar("E", bound=Event)

KEPT_EVENTS = 10_000


@attrs.frozen
class Recorded:
    """One event, and when it came, in seconds on the trio clock."""

    at: float
    event: Event

    def __str__(self) -> str:
        fields = attrs.asdict(self.event, recurse=False)
        actor = fields.pop("actor")
        told = ", ".join(
            f"{name}={value}" for name, value in fields.items() if name not in ("stack", "report")
        )
        return f"{self.at:10.3f} s  {type(self.event).__name__}  {actor}  {told}".rstrip()


class EventRecorder:
    """Keeps the last 10,000 events of *runtime* from now on.

    >>> import trio
    >>> from resprout import Actor, ActorStarted, child, open_runtime
    >>> async def main() -> None:
    ...     async with open_runtime(child("app", Actor)) as runtime:
    ...         recorder = EventRecorder(runtime)
    ...     print([str(reason) for reason in recorder.exits("app")])
    >>> trio.run(main)
    ['shutdown: the runtime stops']
    """

    def __init__(self, runtime: System) -> None:
        self.recorded: deque[Recorded] = deque(maxlen=KEPT_EVENTS)
        self.stop = runtime.events.subscribe(self._take)

    def _take(self, event: Event) -> None:
        self.recorded.append(Recorded(trio.current_time(), event))

    @property
    def events(self) -> list[Event]:
        """All events, the oldest first."""
        return [each.event for each in self.recorded]

    def of(self, kind: type[E], path: str | None = None) -> list[E]:
        """The events of this *kind*, of the actor at *path* only if one is given."""
        return [event for event in self.events if isinstance(event, kind) and path in (None, event.actor)]

    def exits(self, path: str) -> list[ExitReason]:
        """Why the incarnations at *path* ended, one after the other."""
        return [event.reason for event in self.of(ActorExited, path)]

    def clear(self) -> None:
        """Forget what happened so far."""
        self.recorded.clear()

    def tail(self, count: int = 20) -> str:
        """The last *count* events as text, one a line."""
        return "\n".join(str(each) for each in list(self.recorded)[-count:])


def tree_text(place: Snapshot) -> str:
    """*place* and all below it as text: one line each, with what a reader of a failed test needs."""
    return "\n".join(_line(each, depth) for each, depth in _places(place, 0))


def _places(place: Snapshot, depth: int) -> list[tuple[Snapshot, int]]:
    return [(place, depth)] + [below for child in place.children for below in _places(child, depth + 1)]


def _line(place: Snapshot, depth: int) -> str:
    facts = [place.kind, place.life]
    if place.handling:
        facts.append(f"handling {place.handling}")
    if place.waiting:
        facts.append(f"{place.waiting} waiting")
    if place.restarts:
        facts.append(f"{place.restarts} restarts")
    if place.last_exit:
        facts.append(f"last exit {place.last_exit}")
    facts += [f"{name} {value}" for name, value in place.facts.items()]
    return f"{'  ' * depth}{place.id}: {', '.join(facts)}"
