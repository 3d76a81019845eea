"""The board on which a monitor writes what it knows, and from which others read it in their own task."""

from collections.abc import Collection, Mapping
from typing import Protocol, TypeVar, runtime_checkable

import attrs
import trio

from resprout.actors.monitor.health import Health, Readiness, checked, unknown, verdict
from resprout.actors.monitor.policy import MonitorPolicy

T = TypeVar("T")


class Place(Protocol):
    """Where a service's owner is: a `Name` or a `Ref`."""

    @property
    def path(self) -> str:
        """Where in the tree."""
        ...

    def offered(self, kind: type[T]) -> T | None:
        """What the present incarnation offers."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """What an owner must offer to be watched. `Gate` and `AuthDesk` do."""

    def trouble(self) -> str:
        """Why a call now would be refused, as far as is known without asking; empty if nothing is known."""
        ...

    async def check(self) -> None:
        """Make a real round trip along the path that calls take; raise if it fails."""

    def nudge(self) -> None:
        """Try to recover now rather than later."""


class HealthBoard:
    """What a `HealthMonitor` offers: the health of every service it watches.

    Attributes:
        paused_until: Checks pause until then; in the past if they do not.
        paused_by: Who asked for the last pause, or ended it.
    """

    def __init__(
        self, services: Mapping[str, Place], required: Collection[str], policy: MonitorPolicy
    ) -> None:
        now = trio.current_time()
        self.services, self.required, self.policy = services, frozenset(required), policy
        self.health: dict[str, Health] = {name: unknown(now) for name in services}
        self.paused_until, self.paused_by = now, ""

    @property
    def paused_for(self) -> float:
        """Seconds for which checks still pause; zero if they do not."""
        return max(0.0, self.paused_until - trio.current_time())

    def readiness(self) -> Readiness:
        """Whether the application can do its work now, and if not, which services are to blame and why."""
        now, paused = trio.current_time(), self.paused_for > 0
        verdicts = {
            name: verdict(
                self.health[name],
                trouble_at(place),
                now,
                self.policy,
                required=name in self.required,
                paused=paused,
            )
            for name, place in self.services.items()
        }
        return Readiness(all(one.ok for one in verdicts.values() if one.required), verdicts)

    def write(self, name: str, error: Exception | None) -> tuple[Health, Health]:
        """Note the end of a check of *name*; returns the health before and after."""
        before = self.health[name]
        self.health[name] = after = checked(before, trio.current_time(), error)
        return before, after

    def asked(self, name: str) -> None:
        """Note that the owner of *name* was asked to recover."""
        self.health[name] = attrs.evolve(self.health[name], asked_at=trio.current_time())

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """Facts for the tree's snapshot."""
        readiness = self.readiness()
        bad = [name for name, one in readiness.services.items() if not one.ok]
        facts: dict[str, str | int | float | bool | None] = {"ready": readiness.ok}
        if bad:
            facts["not_ok"] = ", ".join(bad)
        if self.paused_for:
            facts |= {"paused_for": round(self.paused_for, 1), "paused_by": self.paused_by}
        return facts


def face_at(place: Place) -> Checkable | None:
    """What the owner at *place* offers; None while it is not running.

    Raises:
        TypeError: It offers something that cannot be checked.
    """
    face = place.offered(object)
    if face is None or isinstance(face, Checkable):
        return face
    raise TypeError(f"{place.path} offers {type(face).__name__}, which has no check(), trouble() and nudge()")


def trouble_at(place: Place) -> str | None:
    """What the owner at *place* knows; None if nobody is there. Never raises: readiness must always answer."""
    try:
        face = face_at(place)
        return None if face is None else face.trouble()
    except Exception as error:  # noqa: BLE001 - a broken owner is a reason, not a failure of readiness.
        return repr(error)
