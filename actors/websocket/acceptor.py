"""Takes connections, checks them, learns who they are, and hands them over as sessions.

Runs without actors. Each connection has its own nursery and its own end: an error in one is reported and
touches nothing else (trio-websocket's own server would come down with the first handler that raises).
"""

import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

import attrs
import trio
from trio_websocket import WebSocketRequest, wrap_server_stream

from resprout.actors.websocket.admission import Admission, Guests, objection
from resprout.actors.websocket.ending import CRASHED, End, last_words
from resprout.actors.websocket.events import ConnectionBroken, ConnectionRefused
from resprout.actors.websocket.hub import Hub
from resprout.actors.websocket.peer import PeerGone, WebSocketPeer
from resprout.actors.websocket.resume import Position
from resprout.actors.websocket.session import Session, SessionPolicy, Visitor
from resprout.actors.websocket.watched import WatchedStream, before_end
from resprout.actors.websocket.wire import (
    MAX_CLIENT_FRAME_BYTES,
    VERSION,
    BadFrame,
    Close,
    Hello,
    decode_from_client,
)
from resprout.runtime.classify import unwrapped
from resprout.runtime.errors import ActorError, ReplyError, ServiceError
from resprout.runtime.events import Event


@attrs.frozen
class Identity:
    """Who a token belongs to, and which stream of messages its holder gets: one per device, for instance."""

    user: str
    stream: str


class TokenRefused(ReplyError):
    """The token is wrong."""


Verifier: TypeAlias = Callable[[str], Awaitable[str | Identity]]
"""Turns a token into an `Identity`, or into the name of a user whose stream has the same name.

A `ServiceError` or `ActorError` says that nobody can tell just now, and the client is asked to come back. Any
other `ReplyError`, such as `TokenRefused`, says no: the client must not come back with this token.
"""


@attrs.frozen(kw_only=True)
class ServerPolicy:
    """Limits of the server. Durations in seconds.

    Attributes:
        handshake_deadline: From the connection to the end of the HTTP request.
        hello_deadline: From there until the client has said who it is, and that is checked.
        session: How a client is watched.
        backlog: Connections the kernel keeps until we take them.
    """

    handshake_deadline: float = 5.0
    hello_deadline: float = 10.0
    session: SessionPolicy = SessionPolicy()
    backlog: int = 1024


@attrs.define(eq=False)
class Acceptor:
    """Serves WebSocket clients.

    Attributes:
        hub: The queue as it is now; raises `Unavailable` while there is none.
        verify: Checks tokens.
        admission: Who may connect.
        policy: Deadlines and limits.
        rng: Source of jitter.
        emit: Takes events.
        actor: Path of the actor this belongs to, for events.
        run_session: Runs a session to its end; an actor does it in a child.
    """

    hub: Callable[[], Hub]
    verify: Verifier
    admission: Admission
    policy: ServerPolicy = attrs.field(factory=ServerPolicy)
    rng: random.Random = attrs.field(factory=random.Random)
    emit: Callable[[Event], None] = attrs.field(default=lambda event: None)
    actor: str = "server"
    run_session: Callable[[Session], Awaitable[None]] = attrs.field(default=Session.run)
    guests: Guests = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.guests = Guests(self.admission)

    async def serve(self, listeners: list[trio.SocketListener], tls: ssl.SSLContext | None = None) -> None:
        """Take connections from *listeners* for ever."""
        if tls is None:
            await trio.serve_listeners(self.handle, listeners)
        else:
            wrapped = [trio.SSLListener(each, tls, https_compatible=True) for each in listeners]
            await trio.serve_listeners(self.handle, wrapped)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end; never raises but when cancelled."""
        address = address_of(stream)
        try:
            if not self.guests.enter(address):
                self._refuse(address, "too many connections")
                return
            try:
                await self._serve_stream(stream, address)
            finally:
                self.guests.leave(address)
        except Exception as error:  # noqa: BLE001 - one client's failure must not end the server.
            self._broken(address, error)
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve_stream(self, plain: trio.abc.Stream, address: str) -> None:
        stream = WatchedStream(plain)
        async with trio.open_nursery() as nursery:
            peer: WebSocketPeer | None = None
            shake_hands = partial(wrap_server_stream, nursery, stream, 16, MAX_CLIENT_FRAME_BYTES)
            with trio.move_on_after(self.policy.handshake_deadline), suppress(PeerGone):
                peer = await self._admit(await before_end(stream, shake_hands), stream, address)
            if peer is not None:
                await self._serve_peer(peer, address)
            nursery.cancel_scope.cancel(reason="the connection is over")

    async def _admit(
        self, request: WebSocketRequest, stream: trio.abc.Stream, address: str
    ) -> WebSocketPeer | None:
        # trio-websocket keeps the Host header to itself; this is the only way to it.
        reason = objection(self.admission, request._event.host, request.headers)
        if reason is None:
            return WebSocketPeer(await request.accept(), stream)
        self._refuse(address, reason)
        await request.reject(403, body=reason.encode())
        return None

    async def _serve_peer(self, peer: WebSocketPeer, address: str) -> None:
        visitor: Visitor | End = End(Close.HELLO_TIMEOUT, "no hello in time", retry_after=1.0)
        try:
            with trio.move_on_after(self.policy.hello_deadline):
                visitor = await self._meet(peer)
        except PeerGone:
            return
        except Exception as error:  # noqa: BLE001 - the verifier's bug, reported; it must not end the server.
            self._broken(address, error)
            visitor = CRASHED
        if isinstance(visitor, Visitor) and not self.guests.sit(visitor.user):
            visitor = End(Close.TOO_MANY_CONNECTIONS, "too many connections of this user", retry_after=5.0)
        if isinstance(visitor, End):
            if visitor is not CRASHED:
                self._refuse(address, visitor.reason)
            await peer.aclose(visitor.code, visitor.reason, last_words(visitor))
            return
        try:
            await self.run_session(self._session(peer, visitor))
        finally:
            self.guests.rise(visitor.user)

    async def _meet(self, peer: WebSocketPeer) -> Visitor | End:
        """Let the client say who it is."""
        arrived = trio.current_time()  # Before the verifier, which may answer in another order.
        try:
            hello = decode_from_client(await peer.receive())
        except BadFrame as error:
            return End(Close.BAD_FRAME, str(error))
        if not isinstance(hello, Hello):
            return End(Close.BAD_FRAME, "the first frame must be a hello")
        if hello.v != VERSION:
            return End(Close.BAD_FRAME, f"this server speaks version {VERSION}")
        try:
            known = await self.verify(hello.token)
        except (ServiceError, ActorError) as error:
            pause = error.retry_after if isinstance(error, ServiceError) else None
            return End(Close.TRY_AGAIN_LATER, "cannot verify the token now", retry_after=pause or 1.0)
        except ReplyError as error:
            return End(Close.UNAUTHORIZED, str(error) or "token refused")
        identity = Identity(known, known) if isinstance(known, str) else known
        return Visitor(
            user=identity.user, stream=identity.stream, position=position_of(hello), arrived=arrived
        )

    def _session(self, peer: WebSocketPeer, visitor: Visitor) -> Session:
        return Session(peer, self.hub, visitor, self.policy.session, self.rng, actor=self.actor)

    def _refuse(self, address: str, reason: str) -> None:
        self.emit(ConnectionRefused(actor=self.actor, address=address, reason=reason))

    def _broken(self, address: str, error: Exception) -> None:
        self.emit(ConnectionBroken(actor=self.actor, address=address, error=unwrapped(error)))


def position_of(hello: Hello) -> Position | None:
    """What the client says it has."""
    if hello.epoch is None or hello.seq is None:
        return None
    return Position(hello.epoch, hello.seq)


def address_of(stream: trio.abc.Stream) -> str:
    """The network address at the other end, without its port; empty if it is gone already."""
    inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    try:
        return str(inner.socket.getpeername()[0]) if isinstance(inner, trio.SocketStream) else ""
    except OSError:
        return ""
