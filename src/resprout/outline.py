"""A tree as it is described, before anything runs: its shape, and how long it may take to stop. Pure."""

from __future__ import annotations

import math
from functools import partial

import attrs

from resprout.runtime import BRUTAL_KILL, Recipe
from resprout.runtime.recipe import DEFAULT_SHUTDOWN
from resprout.supervisors import ChildSpec, DynamicSupervisor, SupervisorSpec
from resprout.supervisors.pool import PoolSpec


@attrs.frozen(kw_only=True)
class Outline:
    """One place of a tree that does not run.

    Attributes:
        kind: The class that will run there, such as ``RedisConnection``.
        restart: permanent, transient or temporary.
        strategy: The strategy of a supervisor; empty for others.
        stops_within: Seconds until it and all below is dead or cancelled, at worst; infinite if unlimited.
        open_ended: Its children are made at runtime; the default shutdown time is counted for them.
    """

    id: str
    path: str
    kind: str
    name: str | None
    restart: str
    strategy: str = ""
    intensity: str = ""
    stops_within: float
    open_ended: bool = False
    children: tuple[Outline, ...] = ()

    def walk(self) -> list[Outline]:
        """This place and all below it, parents first."""
        return [self, *(below for child in self.children for below in child.walk())]


def check_tree(tree: Recipe) -> Outline:
    """The outline of *tree*. Raises `TreeError` if it is described wrongly."""
    tree.check(tree.id, {})
    return _outline(tree, tree.id)


def _outline(spec: Recipe, path: str) -> Outline:
    below = tuple(_outline(child, f"{path}/{child.id}") for child in _children(spec))
    made = _class(spec)
    open_ended = isinstance(made, type) and issubclass(made, DynamicSupervisor)
    return Outline(
        id=spec.id,
        path=path,
        kind=_class_name(spec),
        name=spec.name.key if spec.name else None,
        restart=spec.restart.value if isinstance(spec, ChildSpec) else "never",
        strategy=spec.strategy.value if isinstance(spec, SupervisorSpec) else "",
        intensity=_intensity(spec),
        stops_within=_stop_time(spec, below, open_ended),
        open_ended=open_ended,
        children=below,
    )


def _stop_time(spec: Recipe, children: tuple[Outline, ...], open_ended: bool) -> float:
    """Children stop one after the other, of a dynamic one or a pool at once; its own limit cuts them short."""
    limit = 0.0 if spec.shutdown is BRUTAL_KILL else float(spec.shutdown)
    if open_ended:
        return min(limit, DEFAULT_SHUTDOWN)
    if isinstance(spec, SupervisorSpec):
        times = [child.stops_within for child in children]
        at_once = isinstance(spec, PoolSpec)
        return min(limit, max(times, default=0.0) if at_once else math.fsum(times))
    return limit


def _children(spec: Recipe) -> tuple[ChildSpec, ...]:
    return spec.children if isinstance(spec, SupervisorSpec) else ()


def _intensity(spec: Recipe) -> str:
    if not isinstance(spec, SupervisorSpec):
        return ""
    return f"{spec.intensity.max_restarts} restarts in {spec.intensity.period:g} s"


def _class(spec: Recipe) -> object:
    start: object = spec.start
    return start.func if isinstance(start, partial) else start


def _class_name(spec: Recipe) -> str:
    made = _class(spec)
    return getattr(made, "__name__", type(made).__name__)
