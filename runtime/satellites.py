"""Background tasks of one incarnation: cancelled when it ends, and awaited before it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.lowlevel import current_task

from resprout.runtime.crash import crash_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.lowlevel import Task

    from resprout.runtime.cell import Cell


class Satellites:
    """The background tasks of one incarnation in its place *cell*."""

    __slots__ = ("_cell", "_gone", "_tasks")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._tasks: dict[trio.CancelScope, Task | None] = {}
        self._gone: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def ending(self) -> bool:
        """Whether they are cancelled and awaited."""
        return self._gone is not None

    def start(self, task: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        """Run `task(*args)`; if it raises, the incarnation crashes. While they end it is cancelled at once."""
        scope = trio.CancelScope()
        self._tasks[scope] = None
        made = getattr(task, "func", task)  # The name of a partial must not show its arguments.
        name = f"{self._cell.path}:{getattr(made, '__qualname__', type(made).__name__)}"
        self._cell.system.nursery.start_soon(self._run, scope, task, args, name=name)
        if self._gone is not None:
            scope.cancel(reason=f"{self._cell.path} ends")

    async def _run(
        self, scope: trio.CancelScope, task: Callable[..., Awaitable[object]], args: tuple[object, ...]
    ) -> None:
        self._tasks[scope] = current_task()
        try:
            with scope:
                await task(*args)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - the actor's crash, not its nursery's.
            if not isinstance(error, Exception):
                self._cell.system.fatal(error)
            self._cell.strike(crash_of(error))
        finally:
            del self._tasks[scope]
            if not self._tasks and self._gone is not None:
                self._gone.set()

    async def end(self) -> None:
        """Cancel them all and wait until the last is gone."""
        if self._tasks:
            self._gone = trio.Event()
            for scope in self._tasks:
                scope.cancel(reason=f"{self._cell.path} ends")
            self._cell.watch_end()
            with trio.CancelScope(shield=True):
                await self._gone.wait()
            self._gone = None

    def tasks(self) -> list[Task]:
        """Those that have begun."""
        return [task for task in self._tasks.values() if task is not None]
