"""Background tasks of one incarnation: cancelled when it ends, and awaited before it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from resprout.runtime.exits import Crashed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resprout.runtime.cell import Cell


class Satellites:
    """The background tasks of one place in the tree."""

    __slots__ = ("_cell", "_gone", "_scopes")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._scopes: dict[trio.CancelScope, str] = {}
        self._gone: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._scopes)

    def start(self, task: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        """Run `task(*args)`; if it raises, the incarnation crashes."""
        if not self._cell.running:
            raise RuntimeError(f"{self._cell.path} is not running; start_soon belongs into a running actor")
        scope = trio.CancelScope()
        name = f"{self._cell.path}:{getattr(task, '__qualname__', repr(task))}"
        self._scopes[scope] = name
        self._cell.system.nursery.start_soon(self._run, scope, task, args, name=name)

    async def _run(
        self, scope: trio.CancelScope, task: Callable[..., Awaitable[object]], args: tuple[object, ...]
    ) -> None:
        try:
            with scope:
                await task(*args)
        except Exception as error:  # noqa: BLE001 - the actor's crash, not its nursery's.
            self._cell.strike(Crashed(error))
        except (KeyboardInterrupt, SystemExit, BaseExceptionGroup) as error:
            self._cell.system.fatal(error)
            self._cell.strike(Crashed(error))
        finally:
            del self._scopes[scope]
            if not self._scopes and self._gone is not None:
                self._gone.set()

    async def end(self) -> None:
        """Cancel them all and wait until the last is gone."""
        if self._scopes:
            self._gone = trio.Event()
            for scope in self._scopes:
                scope.cancel(reason=f"{self._cell.path} ends")
            with trio.CancelScope(shield=True):
                await self._gone.wait()
            self._gone = None
