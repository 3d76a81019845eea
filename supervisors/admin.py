"""Requests to whichever supervisor owns a place, by its path: for operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from resprout.runtime import Ref
from resprout.supervisors.errors import ChildError
from resprout.supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from resprout.runtime import System


async def restart_at(runtime: System, path: str) -> None:
    """Stop the child at *path* and start it again; returns when it has started.

    Waits for as long as the child's own shutdown and start times allow.

    Raises:
        NotFoundError: There is no such place.
        ChildError: It is the root, or was spawned by an actor, or did not start.
    """
    parent, _, id = path.rpartition("/")
    runtime.ref(path)
    if not parent:
        raise ChildError(path, "this is the root; restart the process instead")
    owner = runtime.ref(parent)
    if not isinstance(owner.instance, Supervisor):
        raise ChildError(path, f"{parent} is no running supervisor; restart {parent} instead")
    await cast("Ref[Supervisor]", owner).within(math.inf).call(Supervisor.cycle_child, id)
