"""A client that keeps its connection for ever: reconnects, resumes, drops duplicates, reports gaps.

    async with connect("ws://127.0.0.1:8765", token) as inbox:
        async for item in inbox:
            match item:
                case Delivery():
                    handle(item.data)
                case Lost() | Restarted():
                    reload_everything()

Going on to the next item acknowledges the one before it, so a crash in the loop's body loses nothing: the
message comes again.
"""

import math
import random
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self, TypeAlias, assert_never

import attrs
import trio

from resprout.actors.websocket.address import Address
from resprout.actors.websocket.bell import Bell
from resprout.actors.websocket.peer import PeerGone, WebSocketPeer
from resprout.actors.websocket.receiver import Delivery, Item, Receiver
from resprout.actors.websocket.resume import Position
from resprout.actors.websocket.wire import (
    VERSION,
    Ack,
    BadFrame,
    Close,
    Error,
    FromClient,
    FromServer,
    Gap,
    Hello,
    Message,
    Nack,
    Ping,
    Pong,
    Welcome,
    decode_from_server,
    encode,
)
from resprout.runtime.backoff import Backoff, delay
from resprout.runtime.classify import is_programming_error, unwrapped
from resprout.runtime.errors import ResproutError
from resprout.runtime.nurseries import bare_nursery

Token: TypeAlias = str | Callable[[], Awaitable[str]]
"""A token, or what fetches a fresh one for each attempt."""

Url: TypeAlias = str | Callable[[], str]
"""A URL, or what tells it anew for each attempt; it may raise a `ServiceError` while nobody knows."""


class Superseded(ResproutError):
    """Another session of the same stream took over. Coming back by itself would only start a tug of war."""


@attrs.frozen(kw_only=True)
class ClientPolicy:
    """How the client keeps its connection. Durations in seconds.

    Attributes:
        backoff: Pause between attempts.
        attempt_deadline: From the attempt's start to the welcome.
        stable: A session of this length starts the backoff anew.
        silence: Ping a server that is silent for so long.
        silence_deadline: A server that stays silent for so long after a ping is gone.
        ack_delay: Acknowledgements are collected for so long, unless half a window is due.
        last_words: How long leaving may take.
    """

    backoff: Backoff = Backoff()
    attempt_deadline: float = 15.0
    stable: float = 5.0
    silence: float = 30.0
    silence_deadline: float = 10.0
    ack_delay: float = 0.02
    last_words: float = 2.0


class Client:
    """Items of one stream, from whichever connection brings them. Iterate over it in one task.

    Attributes:
        connected: Whether a session is open now.
        sessions: How many were opened so far.
        problem: Why the last attempt or session ended; None before.
        policy: How the connection is kept.
    """

    def __init__(
        self,
        url: Url,
        token: Token,
        *,
        position: Position | None = None,
        tls: ssl.SSLContext | None = None,
        origin: str | None = None,
        policy: ClientPolicy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.connected = False
        self.sessions = 0
        self.problem: Exception | None = None
        if isinstance(url, str):
            Address.parse(url, tls, origin)  # A wrong one is found now, not at the first attempt.
        self._url, self._tls, self._origin = url, tls, origin
        self._token = token
        self.policy = policy or ClientPolicy()
        self._random = rng or random.Random()
        self._receiver = Receiver(position)
        self._in_hand: Item | None = None
        self._arrived, self._to_write, self._nudge = Bell(), Bell(), Bell()
        self._say: list[FromClient] = []
        self._window = 1
        self._retry_after = 0.0
        self._heard = -math.inf
        self._over = False
        self._leaving: trio.Event | None = None

    @property
    def position(self) -> Position | None:
        """Where to resume in another process; give it to `connect`. None before the first welcome."""
        return self._receiver.position

    @property
    def duplicates(self) -> int:
        """How many messages came again and were dropped, as at-least-once delivery allows."""
        return self._receiver.duplicates

    # For the application.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """Acknowledge the item before, and wait for the next one.

        Raises:
            Superseded: Another session of the same stream took over.
        """
        self.acknowledge()
        await trio.lowlevel.checkpoint_if_cancelled()
        while (item := self._receiver.take()) is None:
            if self._over:
                raise Superseded("another session of this stream took over")
            await self._arrived.wait(math.inf)
        self._in_hand = item
        await trio.lowlevel.cancel_shielded_checkpoint()
        return item

    def acknowledge(self) -> None:
        """Done with the item in hand: it will not come again."""
        item, self._in_hand = self._in_hand, None
        if item is not None:
            self._receiver.done(item)
            self._to_write.ring()

    def reject(self, reason: str = "", *, permanent: bool = False) -> None:
        """The message in hand cannot be dealt with now: it comes again later, and what follows it after it.

        Args:
            reason: Goes into the message's history.
            permanent: It never can; the server moves it to the dead letters.
        """
        item, self._in_hand = self._in_hand, None
        if isinstance(item, Delivery) and self._receiver.reject(item):
            self._say.append(Nack(item.seq, reason, permanent))
            self._to_write.ring()

    def nudge(self) -> None:
        """Try again now instead of waiting for the next attempt."""
        self._nudge.ring()

    # The connection.

    async def run(self) -> None:
        """Connect, and again, until another session takes over."""
        failures = 0
        while not self._over:
            started, sessions = trio.current_time(), self.sessions
            self._retry_after = 0.0
            try:
                await self._attempt()
            except Exception as error:
                if is_programming_error(error):
                    raise
                self.problem = unwrapped(error)
            stable = self.sessions > sessions and trio.current_time() - started >= self.policy.stable
            failures = 1 if stable else failures + 1
            if not self._over:
                pause = max(self._retry_after, delay(self.policy.backoff, failures, self._random))
                await self._nudge.wait(pause)

    async def leave(self) -> None:
        """Tell the server what is done, and close; within `ClientPolicy.last_words`."""
        if self.connected:
            self._leaving = trio.Event()
            self._to_write.ring()
            with trio.move_on_after(self.policy.last_words):
                await self._leaving.wait()

    async def _attempt(self) -> None:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(self.policy.attempt_deadline):
                token = self._token if isinstance(self._token, str) else await self._token()
                url = self._url if isinstance(self._url, str) else self._url()
                peer = await Address.parse(url, self._tls, self._origin).open(nursery)
            try:
                with trio.fail_after(self.policy.attempt_deadline):
                    await self._meet(peer, token)
                async with bare_nursery() as workers:
                    workers.start_soon(self._watch, workers.cancel_scope)
                    workers.start_soon(self._write, peer)
                    await self._read(peer)
            finally:
                self.connected = False
                # Closing shields itself, with a deadline.
                await peer.aclose(Close.NORMAL, "", grace=self.policy.last_words)  # noqa: ASYNC102
                nursery.cancel_scope.cancel(reason="the connection is over")

    async def _meet(self, peer: WebSocketPeer, token: str) -> None:
        position = self._receiver.position
        epoch, seq = (None, None) if position is None else (position.epoch, position.seq)
        await peer.send(encode(Hello(VERSION, token, epoch, seq)))
        while not self.connected:
            for frame in decode_from_server(await self._receive(peer)):
                self._hear(frame)

    async def _receive(self, peer: WebSocketPeer) -> str | bytes:
        try:
            return await peer.receive()
        except PeerGone as error:
            if error.code == Close.SUPERSEDED:
                self._over = True
                self._arrived.ring()
            raise

    async def _read(self, peer: WebSocketPeer) -> None:
        while True:
            for frame in decode_from_server(await self._receive(peer)):
                self._hear(frame)

    def _hear(self, frame: FromServer) -> None:
        self._heard = trio.current_time()
        match frame:
            case Welcome():
                self._begin(frame)
            case Message():
                self._receiver.message(frame)
                self._arrived.ring()
            case Gap():
                self._receiver.gap(frame)
                self._arrived.ring()
            case Ping(n=nonce):
                self._say.append(Pong(nonce))
                self._to_write.ring()
            case Pong():
                pass  # The sign of life is noted above.
            case Error(retry_after=retry_after):
                self._retry_after = retry_after or 0.0
            case _:
                assert_never(frame)

    def _begin(self, frame: Welcome) -> None:
        if frame.v != VERSION or self.connected:
            raise BadFrame("a welcome out of place, or of another version")
        self._receiver.welcome(frame)
        self._say.clear()
        self._window = frame.window
        self.connected = True
        self.sessions += 1
        self._arrived.ring()

    async def _write(self, peer: WebSocketPeer) -> None:
        try:
            while self._leaving is None:
                await self._to_write.wait(math.inf)
                await self._collect()
                await self._send(peer)
            await self._send(peer)
            await peer.aclose(Close.NORMAL, "", grace=self.policy.last_words)
        except PeerGone:
            pass  # The reader has the reason.
        finally:
            if self._leaving is not None:
                self._leaving.set()

    async def _collect(self) -> None:
        """Let acknowledgements come together; each rings, so one ring does not end the wait."""
        until = trio.current_time() + self.policy.ack_delay
        while not self._urgent and trio.current_time() < until:
            await self._to_write.wait(until - trio.current_time())

    @property
    def _urgent(self) -> bool:
        return bool(self._say) or self._leaving is not None or 2 * self._receiver.unsent >= self._window

    async def _send(self, peer: WebSocketPeer) -> None:
        frames, self._say = self._say, []
        seq = self._receiver.acknowledge()
        for frame in [*frames, *([] if seq is None else [Ack(seq)])]:
            await peer.send(encode(frame))

    async def _watch(self, session: trio.CancelScope) -> None:
        """End a session whose server has fallen silent."""
        while True:
            await trio.sleep_until(self._heard + self.policy.silence)
            if trio.current_time() < self._heard + self.policy.silence:
                continue
            asked = trio.current_time()
            self._say.append(Ping(secrets.token_hex(8)))
            self._to_write.ring()
            await trio.sleep(self.policy.silence_deadline)
            if self._heard < asked:
                self.problem = TimeoutError("the server fell silent")
                session.cancel(reason="the server fell silent")


@asynccontextmanager
async def connect(
    url: Url,
    token: Token,
    *,
    position: Position | None = None,
    tls: ssl.SSLContext | None = None,
    origin: str | None = None,
    policy: ClientPolicy | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Client]:
    """Receive the messages of a stream for as long as the block lasts, over as many connections as it takes.

    Args:
        url: ``ws://host:port/`` or ``wss://…``, or a function that tells it and is asked on each attempt.
        token: Says who we are.
        position: What an earlier process had, see `Client.position`.
        tls: For ``wss``; by default the system's certificates are trusted.
        origin: An Origin header, if the server insists on one.
        policy: How the connection is kept.
        rng: Source of the jitter.
    """
    client = Client(url, token, position=position, tls=tls, origin=origin, policy=policy, rng=rng)
    async with bare_nursery() as nursery:
        nursery.start_soon(client.run)
        try:
            yield client
        finally:
            with trio.move_on_after(client.policy.last_words, shield=True):
                await client.leave()
