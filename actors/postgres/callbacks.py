"""Callbacks, timers, futures and tasks as asyncio has them, each run at once in the trio task that made it ready.

The half of `TrioLoop` that knows nothing of connections. Two functions here are meant for authors of event loops and
carry an underscore: `asyncio.events._set_running_loop` and `asyncio.Handle._run`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from contextvars import Context

T = TypeVar("T")

_get_running_loop, _set_running_loop = asyncio.events._get_running_loop, asyncio.events._set_running_loop

log = structlog.get_logger(__name__)


class TrioFuture(asyncio.Future[T]):
    """A future that asyncio code of its loop may await, and trio code as well."""

    def __await__(self) -> Generator[Any, None, T]:
        loop = self.get_loop()
        if _get_running_loop() is loop:
            return (yield from super().__await__())
        if not self.done():
            yield from cast("Callbacks", loop)._wait_in_trio(self)
        return self.result()

    __iter__ = __await__


class Timer(asyncio.TimerHandle):
    """A callback at a moment; cancelling it ends the task that waits for the moment."""

    scope: trio.CancelScope

    def cancel(self) -> None:
        """Never call it."""
        super().cancel()
        self.scope.cancel()


class Callbacks:
    """Runs callbacks, and hosts the trio tasks they need; alive while `serve` runs."""

    def __init__(self) -> None:
        self.as_asyncio = cast("asyncio.AbstractEventLoop", self)
        self.made: list[asyncio.Future[Any]] | None = None  # New futures, while somebody wants to know.
        self._awaited: asyncio.Future[Any] | None = None
        self._awaiter = trio.lowlevel.current_task()
        self._ready: deque[asyncio.Handle] = deque()
        self._running = self._kicked = self._ended = False
        self._nursery: trio.Nursery | None = None
        self._token = trio.lowlevel.current_trio_token()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Host the connection's tasks until `stop` or cancellation; then none of them is left."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._ended = True

    def stop(self) -> None:
        """End all that runs for this connection. What still waits for it is woken with an error."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def interrupt(self) -> None:
        """Cancel what a trio task awaits directly, as if it had given up; it sees `asyncio.CancelledError`."""
        if self._awaited is not None:
            self.call(self._awaited.cancel)

    def _wait_in_trio(self, future: asyncio.Future[Any]) -> Generator[Any, None, None]:
        """Park the present trio task until *future* is done. One task at a time: a connection has one user."""
        assert self._awaited is None

        def abort(_: object) -> trio.lowlevel.Abort:
            # The waiter is gone; cancelling the future is how asyncpg learns that the server must be told.
            self._awaited = None
            self.call(future.cancel)
            return trio.lowlevel.Abort.SUCCEEDED

        self._awaited, self._awaiter = future, trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(abort).__await__()  # noqa: ASYNC105 - awaited by the future.

    # Callbacks.

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call *function* as a callback of this loop, and everything it makes ready, before returning.

        Inside another callback it waits its turn, as asyncio's would.
        """
        if self._running:
            self._ready.append(asyncio.Handle(function, args, self.as_asyncio))
            return
        outer = _get_running_loop()  # A host loop's, where trio itself is a guest.
        self._running = True
        _set_running_loop(self.as_asyncio)
        try:
            function(*args)
        finally:
            try:
                ready = self._ready
                while ready:
                    handle = ready.popleft()
                    if not handle._cancelled:
                        handle._run()
            finally:
                _set_running_loop(outer)
                self._running = False
                if self._awaited is not None and self._awaited.done():
                    self._awaited = None
                    trio.lowlevel.reschedule(self._awaiter)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it in the present round of callbacks, or in one of its own at trio's next turn."""
        handle = asyncio.Handle(callback, args, self.as_asyncio, context)
        self._ready.append(handle)
        if not self._running and not self._kicked:
            self._kicked = True
            self._token.run_sync_soon(self._kick)
        return handle

    def _kick(self) -> None:
        self._kicked = False
        self.call(nothing)

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`, from any thread."""
        handle = asyncio.Handle(callback, args, self.as_asyncio, context)
        self._token.run_sync_soon(self.call, handle._run)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it *delay* seconds from now."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it at *when* on trio's clock."""
        timer = Timer(when, callback, args, self.as_asyncio, context)
        timer.scope = trio.CancelScope()

        async def wait() -> None:
            with timer.scope:
                await trio.sleep_until(when)
                self.call(timer._run)

        self.start(wait)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio's timers report here; ours end by their own scope."""

    # Tasks, futures, facts.

    def time(self) -> float:
        """trio's clock, in seconds."""
        return trio.current_time()

    def create_future(self) -> asyncio.Future[Any]:
        """A future for asyncio and trio code alike."""
        future: asyncio.Future[Any] = TrioFuture(loop=self.as_asyncio)
        if self.made is not None:
            self.made.append(future)
        return future

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """An asyncio task of this loop."""
        return asyncio.Task(coro, loop=self.as_asyncio, name=name, context=context)

    def get_debug(self) -> bool:
        """Never: asyncio's debug mode would measure callbacks by its own clock."""
        return False

    def is_running(self) -> bool:
        """True while its tasks are hosted."""
        return not self._ended

    def is_closed(self) -> bool:
        """True once its tasks have ended."""
        return self._ended

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback raised. That an error was never looked at is no news: asyncpg leaves some behind."""
        message = context.get("message", "")
        if "never retrieved" not in message:
            log.debug("asyncpg callback", message=message, error=repr(context.get("exception")))

    def start(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run *function* as a trio task that ends with this loop. After the end it is not run at all."""
        if self._nursery is not None and not self._ended:
            self._nursery.start_soon(function)


def nothing() -> None:
    """Called only to run what waits behind it."""
