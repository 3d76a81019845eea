"""A supervisor whose children are started while it runs: sessions, jobs, rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resprout.supervisors.errors import TooManyChildren
from resprout.supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from resprout.supervisors.spec import ChildSpec


class DynamicSupervisor(Supervisor):
    """Children are independent of each other and stopped all at once, each within its own shutdown time."""

    async def on_start(self) -> None:
        """Start empty: children of an earlier incarnation do not come back."""
        self.context.cell.parallel = True
        await super().on_start()

    def _check(self, path: str, spec: ChildSpec) -> None:
        limit = self._spec.max_children
        if limit is not None and len(self._specs) >= limit:
            raise TooManyChildren(
                path, f"{self.context.path} has its {limit} children; wait until one has ended", limit
            )
        super()._check(path, spec)

    def _drops(self, spec: ChildSpec) -> bool:
        return True  # As Elixir's: whoever has ended for good must not fill the room of the living.
