"""What asyncpg takes for an asyncio event loop, with trio doing all the waiting.

asyncpg's compiled protocol asks its loop for futures, callbacks, timers and transports. Here callbacks run at
once, in whichever trio task made them ready, and a future can be awaited by a trio task directly. So a
statement is sent and awaited as plain trio code: no second loop, no thread, no asyncio task, and trio's
cancellation reaches asyncpg, which then asks the server to cancel. The few of its paths that insist on an
asyncio task (connecting, closing, resetting, COPY) go through `TrioLoop.run`.

Each connection has a loop of its own: ending the loop ends everything the connection has left running.

Two functions here are meant for authors of event loops and carry an underscore: `asyncio.events._set_running_loop`
and `asyncio.Handle._run`.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import functools
import math
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import structlog
import trio

from resprout.actors.postgres.sockets import open_tcp, open_unix
from resprout.actors.postgres.transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from contextvars import Context

P = ParamSpec("P")
T = TypeVar("T")

_get_running_loop, _set_running_loop = asyncio.events._get_running_loop, asyncio.events._set_running_loop

ENDED = "the connection was ended"

log = structlog.get_logger(__name__)


class TrioFuture(asyncio.Future[T]):
    """A future that asyncio code of its loop may await, and trio code as well."""

    def __await__(self) -> Generator[Any, None, T]:
        loop = self.get_loop()
        if _get_running_loop() is loop:
            return (yield from super().__await__())
        if not self.done():
            yield from cast("TrioLoop", loop)._wait_in_trio(self)
        return self.result()

    __iter__ = __await__


class Timer(asyncio.TimerHandle):
    """A callback at a moment; cancelling it ends the task that waits for the moment."""

    scope: trio.CancelScope

    def cancel(self) -> None:
        """Never call it."""
        super().cancel()
        self.scope.cancel()


class TrioLoop:
    """An event loop for the protocol of one connection; alive while `serve` runs.

    It has those methods of `asyncio.AbstractEventLoop` that asyncpg and asyncio's TLS layer use, and no others.
    """

    def __init__(self, *, screened: bool = False) -> None:
        """*screened*: whoever answers must begin as a Postgres does; see `SocketTransport`."""
        self._screened = screened
        self.as_asyncio = cast("asyncio.AbstractEventLoop", self)
        self._awaited: asyncio.Future[Any] | None = None
        self._awaiter = trio.lowlevel.current_task()
        self._transports: list[SocketTransport] = []
        self.patience = (
            math.inf
        )  # Seconds for each host to connect and log in, while there are others to try.
        self.made: list[asyncio.Future[Any]] | None = None  # New futures, while somebody wants to know.
        self._ready: deque[asyncio.Handle] = deque()
        self._running = self._kicked = self._ended = False
        self._nursery: trio.Nursery | None = None
        self._token = trio.lowlevel.current_trio_token()

    @property
    def transport(self) -> SocketTransport | None:
        """The connection, once there is one. Of several hosts those that asyncpg turned down are closing by then."""
        return next((each for each in self._transports if not each.is_closing()), None)

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

    # For trio code.

    async def run(
        self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run asyncio code in an asyncio task and await it here. Cancelling here cancels there, and waits."""
        return await self.join(self.start_task(function(*args, **kwargs)))

    async def join(self, task: asyncio.Task[T]) -> T:
        """Await *task* here. Cancelling here cancels it, and waits."""
        cancelled: Callable[[], object] | None = None
        here = trio.lowlevel.current_task()

        def wake(_: object) -> None:
            trio.lowlevel.reschedule(here)

        def abort(raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
            nonlocal cancelled
            cancelled = raise_cancel
            self.call(task.cancel)
            return trio.lowlevel.Abort.FAILED

        if task.done():
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            task.add_done_callback(wake)
            await trio.lowlevel.wait_task_rescheduled(abort)
        if task.cancelled():
            if cancelled is not None:
                cancelled()
            raise ConnectionAbortedError(ENDED)  # asyncio's own CancelledError stays inside.
        return task.result()

    def start_task(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run asyncio code in a task of its own, as far as it gets now; `join` it later."""
        task = asyncio.Task(coroutine, loop=self.as_asyncio)  # Queues the first step.
        self.call(_nothing)
        return task

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
        self.call(_nothing)

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

    def _await_trio(self, function: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        """A future of trio code, for asyncio code to await; cancelling the one cancels the other."""
        future: asyncio.Future[T] = self.create_future()
        if self._ended:
            future.set_exception(ConnectionAbortedError(ENDED))
            return future
        scope = trio.CancelScope()

        async def work() -> None:
            try:
                with scope:
                    result = await function()
                    self.call(_set_result, future, result)
            except Exception as error:  # noqa: BLE001 - it goes to whoever awaits the future.
                self.call(_set_error, future, error)
            finally:
                self.call(future.cancel)  # Does nothing unless this task was cancelled.

        future.add_done_callback(lambda _: scope.cancel())
        self.start(work)
        return future

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run *func* in one of trio's threads."""
        return self._await_trio(functools.partial(trio.to_thread.run_sync, func, *args))

    # Connections.

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
        *,
        ssl: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to *host*, looked up anew, and start *protocol_factory*'s protocol on it."""
        sock = await self._await_trio(functools.partial(self._open, host, port))
        protocol = protocol_factory()
        if ssl is None:
            return self._attach(sock, protocol), protocol
        ready = self.create_future()
        tls = asyncio.sslproto.SSLProtocol(
            self.as_asyncio, protocol, ssl, ready, False, server_hostname or host
        )
        transport = self._attach(sock, tls)
        await _or_abort(ready, transport)
        return tls._app_transport, protocol

    async def _open(self, host: str, port: int) -> socket.socket:
        with trio.move_on_after(self.patience):
            return await open_tcp(host, port)
        raise TimeoutError(f"{host}:{port} did not answer within {self.patience:g} s")

    async def _give_up(self, transport: SocketTransport) -> None:
        """Close *transport* if its host has not finished the login in time, so that the next one has its turn."""
        await trio.sleep(self.patience)
        if self.patience < math.inf:
            transport._force_close(TimeoutError(f"no login within {self.patience:g} s"))

    async def create_unix_connection(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to the Unix socket at *path*."""
        sock, protocol = await self._await_trio(functools.partial(open_unix, path)), protocol_factory()
        return self._attach(sock, protocol), protocol

    def _attach(self, sock: socket.socket, protocol: asyncio.BaseProtocol) -> SocketTransport:
        if self._ended:
            sock.close()
            raise ConnectionAbortedError(ENDED)
        transport = SocketTransport(self, sock, protocol, screened=self._screened)
        self._transports = [each for each in self._transports if not each.is_closing()] + [transport]
        if self.patience < math.inf:
            self.start(functools.partial(self._give_up, transport))
        protocol.connection_made(transport)
        self.start(transport.run)
        return transport

    async def start_tls(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport:
        """Put asyncio's TLS layer between *transport* and *protocol*.

        Raises:
            OSError: If the handshake fails; an `ssl.SSLError` is one.
        """
        assert isinstance(transport, SocketTransport)
        ready = self.create_future()
        tls = asyncio.sslproto.SSLProtocol(
            self.as_asyncio,
            protocol,
            sslcontext,
            ready,
            server_side,
            server_hostname,
            call_connection_made=False,
        )
        transport.set_protocol(tls)
        self.call(tls.connection_made, transport)
        await _or_abort(ready, transport)
        return tls._app_transport  # As asyncio's own start_tls does.


def _nothing() -> None:
    """Called only to run what waits behind it."""


def _set_result(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _set_error(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


async def _or_abort(ready: asyncio.Future[None], transport: SocketTransport) -> None:
    """Wait for the TLS handshake; without one the connection must not be used."""
    try:
        await ready
    except BaseException:
        transport.abort()
        raise
