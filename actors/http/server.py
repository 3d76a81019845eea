"""anycorn behind our own doors: we listen, count and close the connections, anycorn speaks HTTP on each.

anycorn's own `serve` is not used: it sets up logging, runs a lifespan of 60 s, does not bound the number of
connections, and cannot be cancelled while a client does not read.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import trio
from anycorn.app_wrappers import ASGIWrapper
from anycorn.config import Config
from anycorn.tcp_server import TCPServer
from anycorn.typing import ConnectionState
from anycorn.worker_context import WorkerContext

from resprout.actors.http.wire import Wire

if TYPE_CHECKING:
    from anycorn.typing import ASGIFramework
    from starlette.types import ASGIApp

LOG: Final = logging.getLogger("resprout.http")


@attrs.frozen(kw_only=True)
class HttpLimits:
    """What a client may cost. Durations in seconds.

    Attributes:
        connections: At one time; one more closes the oldest, so that idle clients keep nobody out.
        idle: Until a connection without a complete request is closed: slow headers and keep-alive alike.
        write: Until a client must have taken a piece of an answer.
        header_bytes: Of one request.
        requests: On one connection.
        drain: How long answers in work may take when the endpoint stops.
    """

    connections: int = 64
    idle: float = 5.0
    write: float = 5.0
    header_bytes: int = 16 * 1024
    requests: int = 1_000
    drain: float = 1.0

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be more than 0, not {value!r}")


class HttpServer:
    """Serves *app* to whoever connects, within *limits*."""

    def __init__(self, app: ASGIApp, limits: HttpLimits) -> None:
        self._app = ASGIWrapper(cast("ASGIFramework", app))  # The same protocol, in other words.
        self._limits, self._config = limits, _config(limits)
        self._open: dict[Wire, None] = {}
        self._ending = WorkerContext(None)
        self._empty = trio.Event()
        self._accepting = trio.CancelScope()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._open)

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Serve until cancelled. What one client does harms no other, and not this."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accept, listeners, nursery)
            try:
                await trio.sleep_forever()
            finally:
                for wire in tuple(self._open):
                    wire.cut()  # Else a write in progress, which anycorn shields, would go on.

    async def drain(self) -> None:
        """Take no new connection, close idle ones, and let answers in work be finished, for a while."""
        self._accepting.cancel(reason="the endpoint stops")
        await self._ending.terminated.set()
        with trio.move_on_after(self._limits.drain):
            while self._open:
                self._empty = trio.Event()
                await self._empty.wait()

    async def _accept(self, listeners: list[trio.SocketListener], conversations: trio.Nursery) -> None:
        """Accept until told to stop; conversations go on after that. Closes *listeners*."""
        with self._accepting:
            await trio.serve_listeners(self._converse, listeners, handler_nursery=conversations)

    async def _converse(self, stream: trio.SocketStream) -> None:
        wire = Wire(stream, idle=self._limits.idle, write_timeout=self._limits.write)
        while len(self._open) >= self._limits.connections:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cut()
        self._open[wire] = None
        try:
            with wire.scope:
                # Any: anycorn asks for a socket's stream, and uses of it what every byte stream has.
                await TCPServer(
                    self._app, self._config, self._ending, ConnectionState({}), cast("Any", wire)
                ).run()
        except* Exception as errors:
            LOG.warning("a connection ended by an error", exc_info=errors)
        finally:
            self._open.pop(wire, None)
            stream.socket.close()
            if not self._open:
                self._empty.set()


def _config(limits: HttpLimits) -> Config:
    config = Config()
    config.errorlog = LOG  # Else anycorn would set up a handler of its own.
    config.accesslog = None
    config.keep_alive_timeout = limits.idle
    config.keep_alive_max_requests = limits.requests
    config.h11_max_incomplete_size = limits.header_bytes
    config.h2_max_header_list_size = limits.header_bytes
    config.h2_max_concurrent_streams = 8
    config.include_server_header = False
    return config
