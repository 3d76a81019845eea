"""The supervisor: starts its children in order, restarts them as its strategy says, stops them in reverse.

OTP 28's semantics; docs/otp.md lists the deviations. It is an actor itself: requests are messages. Here is what
it can be asked; what it does by itself is in `restarting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resprout.runtime import Life, NameTakenError, Shutdown, StartFailed, TreeError
from resprout.runtime.belonging import is_busy_in
from resprout.runtime.message import Call
from resprout.supervisors.errors import (
    AlreadyPresent,
    ChildError,
    ChildNotFound,
    ChildRunning,
    ChildStartFailed,
)
from resprout.supervisors.info import ChildCounts, ChildInfo
from resprout.supervisors.restarting import LimitReached as LimitReached
from resprout.supervisors.restarting import Restarting
from resprout.supervisors.spec import ChildSpec, SupervisorSpec
from resprout.supervisors.strategy import ONE_FOR_ONE

if TYPE_CHECKING:
    from resprout.runtime.cell import Cell


class Supervisor(Restarting):
    """Runs the children of its spec. Made by `supervisor(…)`, not by hand."""

    async def start_child(self, spec: ChildSpec) -> str:
        """Start one more child, after all others; returns its path. It is lost if this supervisor restarts.

        Raises:
            AlreadyPresent: The id is in use.
            ChildStartFailed: It is described wrongly or did not start; its spec is dropped.
            TooManyChildren: A dynamic supervisor has no room.
        """
        if not isinstance(spec, ChildSpec):
            raise ChildStartFailed(
                self.context.path, f"{spec!r:.200} is no child spec; wrap it in child(…) or supervisor(…)"
            )
        path = f"{self.context.path}/{spec.id}"
        if spec.id in self._specs:
            raise AlreadyPresent(
                path, "the id is in use; terminate and delete that child or choose another id"
            )
        self._check(path, spec)
        try:
            with self._interruptible():
                await self._start(spec)
        except (StartFailed, NameTakenError) as error:
            self._forget(spec.id)
            raise _start_failed(path, error) from error
        return path

    async def terminate_child(self, id: str) -> None:
        """Stop the child and keep its spec; a temporary child is dropped. Does nothing if it is stopped.

        Raises:
            ChildNotFound: There is no such child.
            ChildError: The caller is the child itself, or below it: nobody can wait for his own end.
        """
        cell = self._wanted(id)
        self._refuse_own_end(cell)
        was_waiting = self._is_waiting(cell)
        await cell.terminate(Shutdown("terminated on request"), final=True)
        if was_waiting:
            # With it went its retry. Others of its group for whom no other one is to come are down as well.
            for other in self._left_behind():
                other.close()
        if self._drops(self._specs[id]):
            self._forget(id)

    async def restart_child(self, id: str) -> None:
        """Start a stopped child again.

        Raises:
            ChildNotFound: There is no such child.
            ChildRunning: It runs or restarts.
            ChildStartFailed: It did not start; its spec stays, stopped.
        """
        cell = self._wanted(id)
        self._refuse_unless_stopped(cell)
        await self._start_on_request(cell)

    async def cycle_child(self, id: str) -> None:
        """Stop the child if it runs, and start it again: one request, so that it is never left half done.

        Raises:
            ChildNotFound: There is no such child.
            ChildStartFailed: It did not start; its spec stays, stopped.
            ChildError: The caller is the child itself, or below it: nobody can wait for his own end.
        """
        cell = self._wanted(id)
        self._refuse_own_end(cell)
        await cell.terminate(Shutdown("restarted on request"))
        await self._start_on_request(cell)

    async def delete_child(self, id: str) -> None:
        """Drop the spec of a stopped child. Raises `ChildNotFound` or `ChildRunning`."""
        self._refuse_unless_stopped(self._wanted(id))
        self._forget(id)

    async def which_children(self) -> list[ChildInfo]:
        """All children, the latest first."""
        return [self._info(id) for id in reversed(self._specs)]

    async def count_children(self) -> ChildCounts:
        """How many children there are, of which kind."""
        supervisors = sum(isinstance(spec, SupervisorSpec) for spec in self._specs.values())
        active = sum(self._state(id) == "running" for id in self._specs)
        return ChildCounts(len(self._specs), active, supervisors, len(self._specs) - supervisors)

    async def _start_on_request(self, cell: Cell) -> None:
        try:
            with self._interruptible():
                await cell.start()
        except StartFailed as error:
            cell.close()
            if self._drops(self._specs[cell.recipe.id]):
                self._forget(cell.recipe.id)
            raise _start_failed(cell.path, error) from error

    def _check(self, path: str, spec: ChildSpec) -> None:
        try:
            self._spec.check_child(path, spec, {})
        except TreeError as error:
            raise ChildStartFailed(path, str(error).removeprefix(f"{path}: ")) from error

    def _wanted(self, id: str) -> Cell:
        if isinstance(id, str) and id in self._specs:
            return self._cell.children[id]
        known = ", ".join(list(self._specs)[:20]) or "none"
        raise ChildNotFound(f"{self.context.path}/{id!s:.200}", f"no such child; there are: {known}")

    def _refuse_unless_stopped(self, cell: Cell) -> None:
        if cell.life is not Life.STOPPED:
            raise ChildRunning(cell.path, "it runs or restarts; terminate it first")

    def _refuse_own_end(self, cell: Cell) -> None:
        incarnation = self._cell.incarnation
        message = incarnation.current if incarnation is not None else None
        if isinstance(message, Call) and message.task is not None and is_busy_in(cell, message.task):
            raise ChildError(
                cell.path, "it cannot wait for its own end; cast the request, or use context.stop()"
            )

    def _left_behind(self) -> list[Cell]:
        if self._spec.strategy is ONE_FOR_ONE:
            return []  # There each one's own task starts it again.
        awaited = self._awaited()
        return [
            self._cell.children[id]
            for id in self._specs
            if id not in awaited and self._is_waiting(self._cell.children[id])
        ]

    def _state(self, id: str) -> str:
        known = {Life.RESTARTING: "restarting", Life.STOPPED: "stopped"}
        return known.get(self._cell.children[id].life, "running")

    def _info(self, id: str) -> ChildInfo:
        cell = self._cell.children[id]
        kind = "supervisor" if isinstance(self._specs[id], SupervisorSpec) else "worker"
        return ChildInfo(id, cell.path, self._state(id), kind)


def _start_failed(path: str, error: StartFailed | NameTakenError) -> ChildStartFailed:
    why = f"it did not start: {error.reason}" if isinstance(error, StartFailed) else str(error)
    return ChildStartFailed(path, why)
