"""The supervisor: starts its children in order, restarts them as its strategy says, stops them in reverse.

OTP 28's semantics; docs/otp.md lists the deviations. It is an actor itself: requests are messages. Here is what
it can be asked; what it does by itself is in `restarting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from resprout.runtime import Ignored, Life, NameTakenError, Shutdown, StartFailed, TreeError
from resprout.runtime.belonging import is_busy_in
from resprout.runtime.message import Call
from resprout.supervisors.errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildError,
    ChildIgnored,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ChildStartFailed,
    ChildStopped,
)
from resprout.supervisors.info import ChildCounts, ChildInfo
from resprout.supervisors.restarting import LimitReached as LimitReached
from resprout.supervisors.restarting import Restarting
from resprout.supervisors.spec import ChildSpec, SupervisorSpec
from resprout.supervisors.strategy import ONE_FOR_ONE, TEMPORARY

if TYPE_CHECKING:
    from resprout.runtime import Actor
    from resprout.runtime.cell import Cell


class Supervisor(Restarting):
    """Runs the children of its spec. Made by `supervisor(…)`, not by hand."""

    async def start_child(self, spec: ChildSpec) -> str:
        """Start one more child, after all others; returns its path. It is lost if this supervisor restarts.

        Raises:
            AlreadyStarted: A child of this id runs.
            AlreadyPresent: One is kept that is stopped or waits for its restart.
            ChildStartFailed: It is described wrongly or did not start; its spec is dropped.
            ChildIgnored: It declined to start; its spec is kept, stopped, unless it is temporary.
            TooManyChildren: A dynamic supervisor has no room.
        """
        if not isinstance(spec, ChildSpec):
            raise ChildStartFailed(
                self.context.path, f"{spec!r:.200} is no child spec; wrap it in child(…) or supervisor(…)"
            )
        path = f"{self.context.path}/{spec.id}"
        if spec.id in self._specs:
            raise _in_use(path, self._state(spec.id))
        self._check(path, spec)
        try:
            with self._interruptible():
                started = await self._start(spec)
        except (StartFailed, NameTakenError) as error:
            self._forget(spec.id)
            raise _start_failed(path, error) from error
        if not started:
            raise self._ignored(self._cell.children[spec.id])
        if spec.restart is TEMPORARY:
            self._let_go(spec)
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
            ChildRunning: It runs.
            ChildRestarting: It waits for its restart.
            ChildStartFailed: It did not start; its spec stays, stopped.
            ChildIgnored: It declined to start; its spec stays, stopped.
        """
        cell = self._wanted(id)
        self._refuse_unless_stopped(cell)
        await self._start_on_request(cell)

    async def retry_child(self, id: str) -> None:
        """Start a child now that waits in its backoff, or for the end of a cool-down; costs no restart.

        Returns before it has started. If it waits for another one of its group, that one is started, and with
        it the group.

        Raises:
            ChildNotFound: There is no such child.
            ChildRunning: It runs.
            ChildStopped: It is stopped, and waits for nothing but `restart_child`.
        """
        cell = self._wanted(id)
        match self._state(id):
            case "running":
                raise ChildRunning(cell.path, "it runs, so there is nothing to retry")
            case "stopped":
                raise ChildStopped(cell.path, "it is stopped; use restart_child")
            case _ if cell.alive:
                cell.cut_pause()
            case _:
                own = [retry for retry in self._pending() if retry.child == id]
                for retry in own or self._pending():
                    self._cell.mailbox.signal(retry)

    async def cycle_child(self, id: str) -> None:
        """Stop the child if it runs, and start it again: one request, so that it is never left half done.

        Raises:
            ChildNotFound: There is no such child.
            ChildStartFailed: It did not start; its spec stays, stopped.
            ChildIgnored: It declined to start; its spec stays, stopped.
            ChildError: The caller is the child itself, or below it: nobody can wait for his own end. Or it is
                a temporary child that was started at runtime, whose arguments are not kept.
        """
        cell = self._wanted(id)
        self._refuse_own_end(cell)
        if cell.recipe.start is _spent:
            raise ChildError(
                cell.path, "a temporary child is not started twice; terminate it, and start another"
            )
        await cell.terminate(Shutdown("restarted on request"))
        await self._start_on_request(cell)

    async def delete_child(self, id: str) -> None:
        """Drop the spec of a stopped child. Raises `ChildNotFound`, `ChildRunning` or `ChildRestarting`."""
        self._refuse_unless_stopped(self._wanted(id))
        self._forget(id)

    async def which_children(self) -> list[ChildInfo]:
        """All children, the latest first."""
        return [self._info(id) for id in reversed(self._specs)]

    async def which_child(self, id: str) -> ChildInfo:
        """What there is to say about one child. Raises `ChildNotFound`."""
        self._wanted(id)
        return self._info(id)

    async def get_childspec(self, id: str) -> ChildSpec:
        """The child's spec, with all defaults. Raises `ChildNotFound`.

        Of a temporary child that was started at runtime `start` is not kept.
        """
        self._wanted(id)
        return self._specs[id]

    async def count_children(self) -> ChildCounts:
        """How many children there are, of which kind."""
        supervisors = sum(isinstance(spec, SupervisorSpec) for spec in self._specs.values())
        active = sum(self._state(id) == "running" for id in self._specs)
        return ChildCounts(len(self._specs), active, supervisors, len(self._specs) - supervisors)

    async def _start_on_request(self, cell: Cell) -> None:
        try:
            with self._interruptible():
                started = await cell.start()
        except StartFailed as error:
            cell.close()
            if self._drops(self._specs[cell.recipe.id]):
                self._forget(cell.recipe.id)
            raise _start_failed(cell.path, error) from error
        if not started:
            raise self._ignored(cell)

    def _ignored(self, cell: Cell) -> ChildIgnored:
        """*cell*'s actor declined: it is kept or dropped, and whoever asked is told."""
        if self._drops(self._specs[cell.recipe.id]):
            self._forget(cell.recipe.id)
        reason = cell.exit_reason
        return ChildIgnored(cell.path, reason.why if isinstance(reason, Ignored) else "")

    def _let_go(self, spec: ChildSpec) -> None:
        """Nobody will start *spec* again: its arguments must not live for as long as the child."""
        cell = self._cell.children.get(spec.id)
        if cell is not None and cell.recipe is spec:
            self._specs[spec.id] = cell.recipe = attrs.evolve(spec, start=_spent)

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
        match self._state(cell.recipe.id):
            case "running":
                raise ChildRunning(cell.path, "it runs; terminate it first")
            case "restarting":
                raise ChildRestarting(
                    cell.path, "it waits for its restart; retry_child starts it now, terminate_child gives up"
                )
            case _:
                pass

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
        return _STATES[self._cell.children[id].life]

    def _info(self, id: str) -> ChildInfo:
        cell = self._cell.children[id]
        kind = "supervisor" if isinstance(self._specs[id], SupervisorSpec) else "worker"
        return ChildInfo(id, cell.path, self._state(id), kind)


_STATES = {
    Life.STARTING: "restarting",  # A first start and one on request are awaited: no request sees them.
    Life.RUNNING: "running",
    Life.STOPPING: "running",
    Life.RESTARTING: "restarting",
    Life.STOPPED: "stopped",
}


def _in_use(path: str, state: str) -> ChildError:
    if state == "running":
        return AlreadyStarted(path, "the id is in use by a child that runs; choose another id")
    hint = "restart_child starts it, delete_child frees the id"
    return AlreadyPresent(path, f"the id is in use by a child that is {state}; {hint}", state)


def _start_failed(path: str, error: StartFailed | NameTakenError) -> ChildStartFailed:
    if isinstance(error, StartFailed):
        return ChildStartFailed(path, f"it did not start: {error.reason}", error.reason)
    return ChildStartFailed(path, str(error))


def _spent() -> Actor:
    raise LookupError("the arguments of a temporary child are not kept")
