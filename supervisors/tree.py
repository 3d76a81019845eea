"""Supervisors with their children, as data."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import attrs

from resprout.runtime import INFINITY, Backoff
from resprout.supervisors.dynamic import DynamicSupervisor
from resprout.supervisors.intensity import Intensity
from resprout.supervisors.spec import GIVE_UP, AutoShutdown, ChildSpec, OnLimit, SupervisorSpec
from resprout.supervisors.strategy import ONE_FOR_ONE, PERMANENT, RestartType, Strategy
from resprout.supervisors.supervisor import Supervisor
from resprout.supervisors.tasks import TaskSupervisor, TaskSupervisorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from resprout.runtime import Actor, Name, ShutdownTime


def supervisor(
    id: str,
    *children: ChildSpec,
    name: Name[Supervisor] | None = None,
    strategy: Strategy = ONE_FOR_ONE,
    intensity: int = 3,
    period: float = 5.0,
    on_limit: OnLimit = GIVE_UP,
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    restart: RestartType = PERMANENT,
    shutdown: ShutdownTime = INFINITY,
    significant: bool = False,
    backoff: Backoff | None = None,
    reset_after: float | None = None,
) -> SupervisorSpec:
    """A supervisor of *children*, which start in this order and stop in reverse.

    Args:
        id: Its name among its siblings, and the first part of its children's paths if it is the root.
        children: What `child` and `supervisor` return.
        name: A `Name` for it, to start and stop children while it runs.
        strategy: Who restarts with a child: nobody else, all, or those started after it.
        intensity: Restarts tolerated within *period* seconds, all children together.
        period: See there.
        on_limit: `GIVE_UP` ends this supervisor and lets its own decide; `CoolDown()` waits and goes on.
        auto_shutdown: Whether it ends after its significant children have.
        restart: As for `child`.
        shutdown: As for `child`; by default it waits for its children for as long as their own times allow.
        significant: As for `child`.
        backoff: As for `child`.
        reset_after: As for `child`.
    """

    return _finish(
        Supervisor,
        id=id,
        children=children,
        name=name,
        strategy=strategy,
        intensity=Intensity(intensity, period),
        on_limit=on_limit,
        auto_shutdown=auto_shutdown,
        restart=restart,
        shutdown=shutdown,
        significant=significant,
        backoff=backoff,
        reset_after=reset_after,
    )


def dynamic_supervisor(
    id: str,
    *,
    name: Name[DynamicSupervisor] | Name[Supervisor] | None = None,
    max_children: int | None = None,
    intensity: int = 3,
    period: float = 5.0,
    on_limit: OnLimit = GIVE_UP,
    restart: RestartType = PERMANENT,
    shutdown: ShutdownTime = INFINITY,
) -> SupervisorSpec:
    """A supervisor without children at first: they are started while it runs, and stopped all at once.

    Args:
        id: Its name among its siblings.
        name: A `Name` for it: `await SESSIONS.call(DynamicSupervisor.start_child, child(…))`.
        max_children: How many may live at a time; None for no limit.
        intensity: Restarts tolerated within *period* seconds, all children together.
        period: See there.
        on_limit: As for `supervisor`.
        restart: As for `child`.
        shutdown: As for `child`.
    """

    return _finish(
        DynamicSupervisor,
        id=id,
        name=name,
        max_children=max_children,
        intensity=Intensity(intensity, period),
        on_limit=on_limit,
        restart=restart,
        shutdown=shutdown,
    )


def task_supervisor(
    id: str,
    *,
    name: Name[TaskSupervisor] | Name[DynamicSupervisor] | Name[Supervisor] | None = None,
    max_children: int | None = 1_000,
    task_shutdown: ShutdownTime = 5.0,
    restart: RestartType = PERMANENT,
    shutdown: ShutdownTime = INFINITY,
) -> SupervisorSpec:
    """A supervisor of one-off work that is handed in through `Tasks`. None of it is tried again.

    Args:
        id: Its name among its siblings.
        name: A `Name` for it: `JOBS = Tasks(Name(TaskSupervisor, "jobs"))` takes work for it.
        max_children: How many tasks may run at a time; None for no limit.
        task_shutdown: Seconds a task may take to finish when all are told to stop, at once; then it is
            cancelled.
        restart: As for `child`.
        shutdown: As for `child`.
    """
    draft = TaskSupervisorSpec(
        id=id,
        start=_unset,
        start_timeout=INFINITY,
        name=cast("Name[Actor] | None", name),
        max_children=max_children,
        task_shutdown=task_shutdown,
        restart=restart,
        shutdown=shutdown,
    )
    return attrs.evolve(draft, start=partial(TaskSupervisor, draft))


def _finish(make: Callable[[SupervisorSpec], Actor], **fields: Any) -> SupervisorSpec:
    """A spec whose start makes a supervisor of that very spec."""
    # Its start takes as long as those of its children, each of which has a limit of its own.
    draft = SupervisorSpec(start=_unset, start_timeout=INFINITY, **fields)
    return attrs.evolve(draft, start=partial(make, draft))


def _unset() -> Actor:
    raise LookupError("a draft cannot start")
