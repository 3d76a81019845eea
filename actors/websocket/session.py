"""One client's session: hears the client, speaks to it, watches over it.

    store --load--> courier --write--> client
    store <-settle- courier <--read--- client        watch: heartbeat and lease

Whatever ends a session, nothing is lost with it: what the store was not told stays in the stream and is
delivered again.
"""

import math
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, assert_never

import attrs
import trio

from resprout.actors.websocket import delivery
from resprout.actors.websocket.courier import Courier
from resprout.actors.websocket.delivery import Overreach
from resprout.actors.websocket.ending import CRASHED, STOPPING, End, last_words
from resprout.actors.websocket.errors import StreamChanged
from resprout.actors.websocket.events import SessionEnded
from resprout.actors.websocket.hub import Hub
from resprout.actors.websocket.peer import Peer, PeerGone
from resprout.actors.websocket.rate import Bucket, RateLimit, spend
from resprout.actors.websocket.resume import Position
from resprout.actors.websocket.wire import (
    Ack,
    BadFrame,
    Close,
    FromServer,
    Hello,
    Nack,
    Ping,
    Pong,
    decode_from_client,
    encode_together,
)
from resprout.runtime.backoff import Backoff

MAX_CONTROL_FRAMES: Final = 1_000
"""Pings and pongs that may wait to be written: a client that asks and never reads must not fill the memory."""


@attrs.frozen(kw_only=True)
class SessionPolicy:
    """How a connected client is watched. Durations in seconds.

    Attributes:
        heartbeat: Ping a client that was silent for so long, +- 10 %.
        heartbeat_deadline: A client that stays silent for so long after a ping is gone.
        open_deadline: How long to wait for the store before the client is asked to come back later.
        last_words: How long closing may take.
        rate: Frames the client may send.
        retry: Pause between attempts while the store is away.
    """

    heartbeat: float = 30.0
    heartbeat_deadline: float = 10.0
    open_deadline: float = 10.0
    last_words: float = 2.0
    rate: RateLimit = RateLimit()
    retry: Backoff = Backoff(cap=5.0)


@attrs.frozen(kw_only=True)
class Visitor:
    """Who is connected.

    Attributes:
        user: For limits and reports.
        stream: Whose messages.
        position: Where to go on.
        arrived: When the client came, on the trio clock: the stream goes to the one who came last.
    """

    user: str
    stream: str
    position: Position | None = None
    arrived: float = attrs.field(factory=trio.current_time)


class Session:
    """Serves one client until it leaves, is closed, or the scope is cancelled.

    Attributes:
        visitor: Who it is.
        ended: Why it ended, once it has.
    """

    def __init__(
        self,
        peer: Peer,
        hub: Callable[[], Hub],
        visitor: Visitor,
        policy: SessionPolicy,
        rng: random.Random,
        *,
        actor: str = "session",
    ) -> None:
        self.visitor = visitor
        self.ended: End | None = None
        self._peer, self._policy, self._random, self._actor = peer, policy, rng, actor
        self._courier = Courier(hub, visitor.stream, visitor.arrived, policy.retry, rng)
        self._control: deque[FromServer] = deque()
        self._pinged, self._next_ping = False, math.inf
        self._workers, self._writer = trio.CancelScope(), trio.CancelScope()
        self._bucket = Bucket(policy.rate.burst, trio.current_time())

    async def run(self) -> None:
        """Serve the client until the end, and close the connection."""
        started = trio.current_time()
        try:
            await self._serve()
        except Exception:
            self.ended = self.ended or CRASHED
            raise
        finally:
            end = self.ended = self.ended or STOPPING
            self._courier.leave(self._facts(end, trio.current_time() - started))
            grace = self._policy.last_words
            # Closing shields itself, with a deadline.
            await self._peer.aclose(end.code, end.reason, last_words(end), grace=grace)  # noqa: ASYNC102

    async def _serve(self) -> None:
        await self._work(self._open)
        if self.ended is not None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            with self._workers:
                async with trio.open_nursery() as workers:
                    for work in (self._read, self._watch, self._courier.load, self._courier.settle):
                        workers.start_soon(self._work, work)
        with trio.move_on_after(self._policy.last_words / 2):
            await self._work(self._courier.settle_acks)

    async def _open(self) -> None:
        visitor = self.visitor
        with trio.move_on_after(self._policy.open_deadline):
            self._control.extend(await self._courier.open(visitor.position, visitor.user, self._supersede))
            return
        self._end(End(Close.TRY_AGAIN_LATER, "the store is away", retry_after=1.0))

    async def _work(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except PeerGone as error:
            self._end(End(error.code, error.reason, by_client=True))
        except (BadFrame, Overreach) as error:
            self._end(End(Close.BAD_FRAME, str(error)))
        except StreamChanged:
            self._end(End(Close.TRY_AGAIN_LATER, "the stream begins anew", retry_after=0.0))

    async def _read(self) -> None:
        while True:
            frame = decode_from_client(await self._peer.receive())
            self._hear()
            match frame:
                case Ack(seq=seq):
                    self._courier.acknowledge(seq)
                case Nack():
                    self._courier.reject(frame)
                case Ping(n=nonce):
                    self._say(Pong(nonce))
                case Pong():
                    pass  # `_hear` has noted that the client lives.
                case Hello():
                    raise BadFrame("there may be only one hello")
                case _:
                    assert_never(frame)

    async def _write(self) -> None:
        """Send whole frames only: once the session has ended, this task has a moment left to finish its own."""
        with self._writer:
            while self.ended is None:
                frames = self._control_frames() or self._courier.frames()
                try:
                    for text in encode_together(frames):
                        await self._peer.send(text)
                except PeerGone as error:
                    self._end(End(error.code, error.reason, by_client=True))
                if not frames:
                    await self._courier.to_write.wait(self._pause())

    async def _watch(self) -> None:
        """Find a client that is gone, and one that is there but gets nothing done."""
        self._next_ping = trio.current_time() + self._heartbeat()
        while True:
            next_look = min(self._next_ping, self._courier.window.lease_until)
            await self._courier.to_watch.wait(next_look - trio.current_time())
            now = trio.current_time()
            stuck = delivery.overdue(self._courier.window, now)
            if stuck is not None:
                with trio.move_on_after(self._policy.last_words):
                    await self._courier.count_failure(stuck, "no acknowledgement within the lease")
                self._end(
                    End(Close.SLOW, f"message {stuck.seq} was not acknowledged in time", retry_after=1.0)
                )
            elif now >= self._next_ping and self._pinged:
                self._end(End(Close.GOING_AWAY, "no answer to a ping", retry_after=0.0))
            elif now >= self._next_ping:
                self._pinged, self._next_ping = True, now + self._policy.heartbeat_deadline
                self._say(Ping(secrets.token_hex(8)))

    def _end(self, end: End) -> None:
        """The first reason counts. The writer may finish its frame, so that the close code gets through."""
        if self.ended is None:
            self.ended = end
            self._workers.cancel(reason=end.reason)
            self._writer.deadline = trio.current_time() + self._policy.last_words / 2
            self._courier.to_write.ring()

    def _supersede(self) -> None:
        self._end(End(Close.SUPERSEDED, "another session of this stream took over"))

    def _hear(self) -> None:
        """Any frame is a sign of life, and one more that the client may send."""
        now = trio.current_time()
        bucket = spend(self._bucket, now, self._policy.rate)
        if bucket is None:
            self._end(End(Close.TOO_FAST, "too many frames", retry_after=1.0))
        else:
            self._bucket = bucket
            self._pinged, self._next_ping = False, now + self._heartbeat()

    def _heartbeat(self) -> float:
        return self._policy.heartbeat * self._random.uniform(0.9, 1.1)

    def _say(self, frame: FromServer) -> None:
        if len(self._control) >= MAX_CONTROL_FRAMES:
            self._end(End(Close.SLOW, "answers are not read", retry_after=1.0))
        self._control.append(frame)
        self._courier.to_write.ring()

    def _control_frames(self) -> tuple[FromServer, ...]:
        frames = tuple(self._control)
        self._control.clear()
        return frames

    def _pause(self) -> float:
        """Seconds until a held message may be sent; no need to look before unless rung."""
        pause = self._courier.window.not_before - trio.current_time()
        return pause if pause > 0 else math.inf

    def _facts(self, end: End, seconds: float) -> SessionEnded:
        visitor, code, reason = self.visitor, int(end.code), end.reason
        return SessionEnded(
            actor=self._actor,
            stream=visitor.stream,
            user=visitor.user,
            code=code,
            reason=reason,
            seconds=seconds,
        )
