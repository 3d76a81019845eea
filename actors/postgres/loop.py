"""What asyncpg takes for an asyncio event loop, with trio doing all the waiting.

asyncpg's compiled protocol asks its loop for futures, callbacks, timers and transports. Here callbacks run at
once, in whichever trio task made them ready, and a future can be awaited by a trio task directly. So a
statement is sent and awaited as plain trio code: no second loop, no thread, no asyncio task, and trio's
cancellation reaches asyncpg, which then asks the server to cancel. The few of its paths that insist on an
asyncio task (connecting, closing, resetting, COPY) go through `TrioLoop.run`.

Each connection has a loop of its own: ending the loop ends everything the connection has left running.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import functools
import math
import socket
import ssl
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import trio

from resprout.actors.postgres.callbacks import Callbacks, nothing
from resprout.actors.postgres.sockets import open_tcp, open_unix
from resprout.actors.postgres.transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

ENDED = "the connection was ended"


class TrioLoop(Callbacks):
    """An event loop for the protocol of one connection; alive while `serve` runs.

    It has those methods of `asyncio.AbstractEventLoop` that asyncpg and asyncio's TLS layer use, and no others.

    Attributes:
        patience: Seconds for each host to connect and log in, while there are others to try.
    """

    def __init__(self, *, screened: bool = False) -> None:
        """*screened*: whoever answers must begin as a Postgres does; see `SocketTransport`."""
        super().__init__()
        self._screened = screened
        self._transports: list[SocketTransport] = []
        self.patience = math.inf

    @property
    def transport(self) -> SocketTransport | None:
        """The connection, once there is one. Of several hosts those that asyncpg turned down are closing by then."""
        return next((each for each in self._transports if not each.is_closing()), None)

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
        self.call(nothing)
        return task

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
