"""Label values that stay few, whatever happens: no ids, no names made up at run time.

Places that the tree's description names have their own label. All actors that were started while it ran,
sessions for instance, share their nearest such ancestor's, with ``/*`` behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from resprout.supervisors import SupervisorSpec

if TYPE_CHECKING:
    from resprout.runtime.recipe import Recipe

OTHER: Final = "other"
MAX_SERVICES: Final = 100


def static_paths(recipe: Recipe, above: str = "") -> frozenset[str]:
    """The paths of all places that *recipe* describes."""
    path = f"{above}{recipe.id}"
    children = recipe.children if isinstance(recipe, SupervisorSpec) else ()
    return frozenset((path,)).union(*(static_paths(child, f"{path}/") for child in children))


class Labels:
    """Turns paths and names of services into label values."""

    def __init__(self, tree: Recipe) -> None:
        self.static = static_paths(tree)
        self._services: set[str] = set()

    def actor(self, path: str) -> str:
        """The label of the actor at *path*."""
        above = path
        while above not in self.static:
            above = above.rpartition("/")[0]
            if not above:
                return OTHER
        return path if above == path else f"{above}/*"

    def service(self, name: str, owner: str) -> str:
        """The label of the service *name*, whose owner is at *owner*; the 101st and later are ``other``."""
        if owner and owner not in self.static:
            return OTHER
        if name not in self._services:
            if len(self._services) >= MAX_SERVICES:
                return OTHER
            self._services.add(name)
        return name
