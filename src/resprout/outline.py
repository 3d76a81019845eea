"""A tree as it is described, before anything runs: its shape, and how long it may take to stop. Pure."""

from __future__ import annotations

from functools import partial

import attrs

from resprout.runtime import Recipe
from resprout.supervisors import ChildSpec, SupervisorSpec, shutdown_budget
from resprout.supervisors.budget import is_open_ended


@attrs.frozen(kw_only=True)
class Outline:
    """One place of a tree that does not run.

    Attributes:
        kind: The class that will run there, such as ``RedisConnection``.
        restart: permanent, transient or temporary.
        strategy: The strategy of a supervisor; empty for others.
        stops_within: Its `shutdown_budget`.
        open_ended: Its children are made at runtime.
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
    return Outline(
        id=spec.id,
        path=path,
        kind=_class_name(spec),
        name=spec.name.key if spec.name else None,
        restart=spec.restart.value if isinstance(spec, ChildSpec) else "never",
        strategy=spec.strategy.value if isinstance(spec, SupervisorSpec) else "",
        intensity=_intensity(spec),
        stops_within=shutdown_budget(spec),
        open_ended=is_open_ended(spec),
        children=below,
    )


def _children(spec: Recipe) -> tuple[ChildSpec, ...]:
    return spec.children if isinstance(spec, SupervisorSpec) else ()


def _intensity(spec: Recipe) -> str:
    if not isinstance(spec, SupervisorSpec):
        return ""
    return f"{spec.intensity.max_restarts} restarts in {spec.intensity.period:g} s"


def _class_name(spec: Recipe) -> str:
    made: object = spec.start.func if isinstance(spec.start, partial) else spec.start
    return getattr(made, "__name__", type(made).__name__)
