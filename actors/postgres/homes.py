"""Where connections live: each in an actor of its own, so that the tree shows it and a fault in it stays there.

The actor owns what runs for the connection, from the attempt to connect to its end. It handles no statements:
those run in the caller's own task, and a message for each would cost more than the statement.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from resprout.runtime.actor import Actor
from resprout.supervisors import TEMPORARY, child
from resprout.supervisors.dynamic import DynamicSupervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resprout.actors.postgres.slots import Slot
    from resprout.runtime.ref import Ref
    from resprout.runtime.snapshot import Fact

STOP_WITHIN = 2.0


class Home:
    """Room for the tasks of one connection, and what the tree shows of it."""

    def __init__(self, slot: Slot | None) -> None:
        """*slot* is the connection's; None if it is opened only to probe the server."""
        self._slot = slot
        self.nursery: trio.Nursery | None = None
        self._ready, self._over = trio.Event(), trio.Event()

    async def host(self) -> None:
        """Host the connection's tasks until `end`."""
        async with trio.open_nursery() as self.nursery:
            self._ready.set()
            await self._over.wait()
            self.nursery.cancel_scope.cancel()

    async def wait_ready(self) -> trio.Nursery:
        """Return the nursery for the connection, once there is one."""
        await self._ready.wait()
        assert self.nursery is not None
        return self.nursery

    def end(self) -> None:
        """The connection has ended, or was never made."""
        self._over.set()

    def describe(self) -> Mapping[str, Fact]:
        """For the tree: what it does, its age in seconds, how often it was used, and who holds it for long."""
        slot = self._slot
        if slot is None:
            return {"state": "probing"}
        if slot.connection is None:
            return {"state": slot.state.value}
        age = round(trio.current_time() - slot.opened, 1)
        facts: dict[str, Fact] = {"state": slot.state.value, "age": age, "uses": slot.uses}
        return facts if slot.holder is None else facts | {"holder": slot.holder.name}


class Homes(Protocol):
    """Makes a home for each connection."""

    async def __call__(self, slot: Slot | None) -> Home:
        """A home whose nursery is open. The caller ends it."""
        ...


class InNursery:
    """Homes in one nursery, for a pool outside any actor."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def __call__(self, slot: Slot | None) -> Home:
        """As `Homes`."""
        home = Home(slot)
        self._nursery.start_soon(home.host)
        try:
            await home.wait_ready()
        except BaseException:
            home.end()
            raise
        return home


class InActors:
    """Homes in actors, children of *supervisor*."""

    def __init__(self, supervisor: Ref[DynamicSupervisor]) -> None:
        self._supervisor, self._numbers = supervisor, count(1)

    async def __call__(self, slot: Slot | None) -> Home:
        """As `Homes`."""
        home = Home(slot)
        id = f"{next(self._numbers)}"
        spec = child(id, partial(PooledConnection, home), restart=TEMPORARY, shutdown=STOP_WITHIN)
        try:
            await self._supervisor.call(DynamicSupervisor.start_child, spec)
            await home.wait_ready()
        except BaseException:
            home.end()  # The actor may be about to start all the same.
            raise
        return home


@attrs.define
class PooledConnection(Actor):
    """One connection of a pool, from the attempt to its end. To stop it is to close the connection."""

    _home: Home = attrs.field(repr=False)

    async def on_start(self) -> None:
        """Make room for the connection."""
        self.context.offer(self._home)
        self.context.start_soon(self._host)

    async def _host(self) -> None:
        await self._home.host()
        self.context.stop()
