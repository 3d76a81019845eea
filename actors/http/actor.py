"""The actor that serves metrics and probes over HTTP: `HttpEndpoint`."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import attrs
import trio

from resprout.actors.http.pages import Pages
from resprout.actors.http.server import HttpLimits, HttpServer
from resprout.actors.metrics import tallies_of
from resprout.runtime.actor import Actor
from resprout.runtime.errors import ResproutError
from resprout.runtime.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.registry import Collector

    from resprout.actors.monitor import HealthMonitor
    from resprout.runtime.exits import ExitReason
    from resprout.runtime.ref import Address

_ports: WeakKeyDictionary[object, int] = WeakKeyDictionary()
"""The free port each place in a tree was given, so that scrapers find it again after a restart."""


class ListenFailed(ResproutError):
    """The port cannot be had: another program has it, or we may not use it."""


@attrs.frozen(kw_only=True)
class HttpListening(Event):
    """The endpoint answers at *url*."""

    url: str


@attrs.frozen
class Listening:
    """What an `HttpEndpoint` offers: where it answers."""

    url: str
    port: int
    server: HttpServer = attrs.field(repr=False)

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """Facts for the tree's snapshot."""
        return {"url": self.url, "connections": self.server.connections}


@attrs.define
class HttpEndpoint(Actor):
    """Answers ``/metrics`` (for Prometheus), ``/livez`` and ``/readyz`` (for whoever runs the process).

    Put it first in the tree: it then counts events from the start, and is there, answering 503 at ``/readyz``,
    while the rest starts and drains. It offers `Listening`.

    Attributes:
        host: The address to listen on. Nothing here asks for a password: keep it to networks you trust.
        port: Where to listen; 0 chooses a free one at the first start and keeps it.
        monitor: Who knows whether the application is ready; None if it is whenever the tree runs.
        more: Collectors of your own, such as a `CollectorRegistry`, whose metrics are shown too.
        limits: What a client may cost.

    Raises:
        ValueError: If the port is no port.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    monitor: Address[HealthMonitor] | None = None
    more: Sequence[Collector] = ()
    limits: HttpLimits = HttpLimits()
    _server: HttpServer = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"a port is a number from 0 to 65535, not {self.port!r}")

    async def on_start(self) -> None:
        context = self.context
        system = context.cell.system
        tallies_of(system)
        listeners = await self._listen()
        port = _ports[context.cell] = listeners[0].socket.getsockname()[1]
        self._server = HttpServer(Pages(system, self.monitor, self.more, context.log).app(), self.limits)
        context.start_soon(self._server.serve, listeners)
        url = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"
        context.offer(Listening(url, port, self._server))
        context.emit(HttpListening(actor=context.path, url=url))

    async def on_stop(self, reason: ExitReason) -> None:
        await self._server.drain()

    async def _listen(self) -> list[trio.SocketListener]:
        kept = _ports.get(self.context.cell, 0)
        if self.port == 0 and kept:
            try:
                return await open_listeners(self.host, kept)
            except ListenFailed:
                pass  # Somebody took it meanwhile, and nobody was promised this one.
        return await open_listeners(self.host, self.port)


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen at *port* on all addresses of *host*; on the first, if any port will do.

    Raises:
        ListenFailed: Says why, and what to do.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise ListenFailed(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    if port == 0:
        for extra in listeners[1:]:
            extra.socket.close()
        del listeners[1:]
    return listeners


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if isinstance(error.errno, int) and error.errno > 0 else str(error)
    match error.errno:
        case errno.EADDRINUSE:
            return f"{text}; stop the program that has it, or give HttpEndpoint another port (0 for any)"
        case errno.EACCES:
            return f"{text}; give HttpEndpoint a port above 1023"
        case _:
            return f"{text}; give HttpEndpoint an address of this machine"
