"""How long a tree may take to stop, read from its description. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from resprout.runtime.recipe import DEFAULT_SHUTDOWN, limit_of
from resprout.supervisors.dynamic import DynamicSupervisor
from resprout.supervisors.pool import PoolSpec
from resprout.supervisors.spec import SupervisorSpec
from resprout.supervisors.tasks import TaskSupervisorSpec

if TYPE_CHECKING:
    from resprout.runtime import Recipe


def shutdown_budget(tree: Recipe) -> float:
    """Seconds from the order to stop *tree* until all of it has ended, or was cancelled as too late; at worst.

    Children stop one after the other, so their times add up; those of a pool, a dynamic supervisor or a task
    supervisor stop all at once, so the longest counts. A supervisor's own `shutdown` cuts both short. What is
    made at runtime is not in *tree*: a dynamic supervisor is counted as if its children kept the default of
    5 s, a task supervisor with its `task_shutdown`, and children added to another supervisor not at all.

    Returns:
        `math.inf` if something may take as long as it likes.

    >>> from resprout import Actor, child, supervisor
    >>> shutdown_budget(supervisor("app", child("a", Actor, shutdown=2), child("b", Actor)))
    7.0
    """
    if not isinstance(tree, SupervisorSpec):
        return tree.stops_within(())
    times = [shutdown_budget(child) for child in tree.children]
    if isinstance(tree, TaskSupervisorSpec):
        times.append(limit_of(tree.task_shutdown))
    elif is_open_ended(tree):
        times.append(DEFAULT_SHUTDOWN)
    return tree.stops_within(times, at_once=isinstance(tree, PoolSpec) or is_open_ended(tree))


def is_open_ended(spec: Recipe) -> bool:
    """Whether the children of *spec* are made at runtime."""
    made = spec.start.func if isinstance(spec.start, partial) else spec.start
    return isinstance(made, type) and issubclass(made, DynamicSupervisor)
