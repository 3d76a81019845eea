"""The actor that serves WebSocket clients, and the actor that is one client's session."""

import ssl
from collections.abc import Iterable
from functools import partial
from itertools import count
from weakref import WeakKeyDictionary

import attrs
import trio

from resprout.actors.websocket.acceptor import Acceptor, ServerPolicy, Verifier
from resprout.actors.websocket.admission import Admission, affordable
from resprout.actors.websocket.events import ServerListening
from resprout.actors.websocket.queue import MessageQueue, find_hub
from resprout.actors.websocket.session import Session
from resprout.runtime.actor import Actor
from resprout.runtime.errors import ResproutError
from resprout.runtime.exits import ExitReason
from resprout.runtime.ref import Address, Ref
from resprout.supervisors import TEMPORARY, DynamicSupervisor, child, dynamic_supervisor

_ports: WeakKeyDictionary[object, int] = WeakKeyDictionary()
"""The free port each place in a tree was given, so that clients find it again after a restart."""


@attrs.frozen
class Listening:
    """What a `WebSocketServer` offers: where clients connect."""

    url: str
    acceptor: Acceptor = attrs.field(repr=False)

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """Facts for the tree's snapshot."""
        return {"url": self.url, "connections": self.acceptor.guests.total}


class ListenFailed(ResproutError):
    """The port cannot be had; another program has it, or we may not use it."""


@attrs.define
class WebSocketServer(Actor):
    """Delivers the messages of a queue to WebSocket clients; see docs/reference-websocket.md for the protocol.

    When it crashes, its clients are cut off, come back to the same port, and go on where they were. It offers
    `Listening`, which tells its URL. Each session is an actor below ``sessions``.

    Attributes:
        queue: Name or ref of the `MessageQueue`.
        verify: Turns a token into a user; see `Verifier`.
        port: Where to listen; 0 chooses a free one at the first start and keeps it.
        host: The address to listen on.
        hosts: Values of the Host header to let in; by default the address itself, and ``localhost`` for
            loopback. Needed when *host* is not the name that clients use.
        origins: Values of the Origin header to let in: the sites whose pages may connect. By default none;
            clients that are not browsers send none.
        limits: How many may connect, and whether without an Origin; its own lists are not used.
        policy: Deadlines and limits.
        tls: Serve ``wss`` with this.
    """

    queue: Address[MessageQueue]
    verify: Verifier
    port: int = 8765
    host: str = "127.0.0.1"
    hosts: Iterable[str] | None = None
    origins: Iterable[str] = ()
    limits: Admission = attrs.field(factory=lambda: Admission(hosts=()))
    policy: ServerPolicy = attrs.field(factory=ServerPolicy)
    tls: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    _numbers: "count[int]" = attrs.field(factory=lambda: count(1), init=False, repr=False)
    _sessions: Ref[DynamicSupervisor] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.hosts is None and self.host in ("0.0.0.0", "::", ""):
            raise ValueError(f"listening on {self.host} needs hosts=[…]: the names that clients use")

    async def on_start(self) -> None:
        context = self.context
        listeners = await self._listen()
        port = _ports[context.cell] = listeners[0].socket.getsockname()[1]
        self._sessions = await context.spawn(
            "sessions", partial(DynamicSupervisor, dynamic_supervisor("sessions"))
        )
        acceptor = Acceptor(
            hub=partial(find_hub, self.queue),
            verify=self.verify,
            admission=self._admission(port),
            policy=self.policy,
            rng=context.random,
            emit=context.emit,
            actor=context.path,
            run_session=self._run_session,
        )
        context.start_soon(acceptor.serve, listeners, self.tls)
        url = f"{'ws' if self.tls is None else 'wss'}://{bracketed(self.host)}:{port}/"
        context.offer(Listening(url, acceptor))
        context.emit(ServerListening(actor=context.path, url=url))

    async def _listen(self) -> list[trio.SocketListener]:
        port = self.port or _ports.get(self.context.cell, 0)
        try:
            return await trio.open_tcp_listeners(port, host=self.host, backlog=self.policy.backlog)
        except OSError as error:
            raise ListenFailed(
                f"cannot listen on {self.host}:{port}: {error}; choose another port"
            ) from error

    def _admission(self, port: int) -> Admission:
        hosts = own_names(self.host, port) if self.hosts is None else self.hosts
        return affordable(attrs.evolve(self.limits, hosts=hosts, origins=self.origins))

    async def _run_session(self, session: Session) -> None:
        """Run *session* in an actor of its own; returns when that has ended."""
        done = trio.Event()
        id = f"{next(self._numbers)}"
        spec = child(id, partial(ClientSession, session, done), restart=TEMPORARY, shutdown=2.0)
        await self._sessions.call(DynamicSupervisor.start_child, spec)
        await done.wait()


@attrs.define
class ClientSession(Actor):
    """One client's session. Ends when the client leaves or is closed."""

    session: Session = attrs.field(repr=False)
    done: trio.Event = attrs.field(repr=False)

    async def on_start(self) -> None:
        self.context.start_soon(self._run)

    async def on_stop(self, reason: ExitReason) -> None:
        self.done.set()

    async def info(self) -> dict[str, str]:
        """Who is connected."""
        visitor = self.session.visitor
        return {"user": visitor.user, "stream": visitor.stream}

    async def _run(self) -> None:
        try:
            await self.session.run()
        finally:
            self.done.set()
        self.context.stop()


def own_names(host: str, port: int) -> list[str]:
    """What the Host header of an honest client says, if there is no other name for the server.

    >>> own_names("127.0.0.1", 8765)
    ['127.0.0.1:8765', 'localhost:8765']
    """
    names = [f"{bracketed(host)}:{port}"]
    if host in ("127.0.0.1", "::1"):
        names.append(f"localhost:{port}")
    return names if port not in (80, 443) else [*names, *(name.rpartition(":")[0] for name in names)]


def bracketed(host: str) -> str:
    """An address as it stands in a URL.

    >>> bracketed("::1")
    '[::1]'
    """
    return f"[{host}]" if ":" in host else host
