"""One WebSocket, made safe: what trio-websocket leaves to its users.

A cancelled `send_message` leaves half a frame behind, and the next one would be swallowed as its payload, so a
peer that was cut off while sending is never used again, only aborted. Nobody but one task may send. Closing
waits for the other side's answer, which may never come, so it has a deadline and ends in an abort. Liveness is
asked for with frames of our own, through the one task that sends: the library's `ping` would be a second one.
"""

import math
from contextlib import suppress
from typing import Final, Protocol

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from resprout.runtime.errors import ResproutError

HURRIED: Final = 0.1
"""Seconds to get a close frame out when there is no time to wait for an answer."""


class PeerGone(ResproutError):
    """The other side has closed or vanished; *code* is its close code, 1006 if it gave none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code} {reason}".rstrip())
        self.code, self.reason = code, reason


class Peer(Protocol):
    """The other end of a WebSocket."""

    async def receive(self) -> str | bytes:
        """The next message. Call it all the time: unread messages stop the answers to pings.

        Raises:
            PeerGone: There will be no more.
        """
        ...

    async def send(self, text: str) -> None:
        """Send one text message; only one task may do so. Waits while the other side does not read.

        Raises:
            PeerGone: It cannot be sent any more.
        """
        ...

    async def aclose(self, code: int, reason: str, last: str | None = None, *, grace: float = 2.0) -> None:
        """Send the *last* message and close with *code*: within *grace* seconds, also when cancelled."""
        ...


class WebSocketPeer:
    """A `Peer` over trio-websocket and the stream below it."""

    def __init__(self, socket: WebSocketConnection, stream: trio.abc.Stream) -> None:
        self._socket, self._stream = socket, stream
        self._half_sent = False

    async def receive(self) -> str | bytes:
        try:
            return await self._socket.get_message()
        except ConnectionClosed as error:
            raise gone(error) from None

    async def send(self, text: str) -> None:
        self._half_sent = True
        try:
            await self._socket.send_message(text)
        except ConnectionClosed as error:
            raise gone(error) from None
        self._half_sent = False

    async def aclose(self, code: int, reason: str, last: str | None = None, *, grace: float = 2.0) -> None:
        try:
            if not self._half_sent:
                # When cancelled, the library's reader is too, and would never see the other side's answer.
                cancelled = trio.current_effective_deadline() == -math.inf
                with trio.move_on_after(min(grace, HURRIED) if cancelled else grace, shield=True):
                    await self._say_goodbye(code, reason, last)
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _say_goodbye(self, code: int, reason: str, last: str | None) -> None:
        with suppress(ConnectionClosed):
            if last is not None:
                await self._socket.send_message(last)
            await self._socket.aclose(code, short(reason))


def gone(error: ConnectionClosed) -> PeerGone:
    """trio-websocket's error as ours."""
    reason = error.reason
    return PeerGone(1006, "") if reason is None else PeerGone(reason.code, reason.reason or "")


def short(reason: str) -> str:
    """A close reason has room for 123 bytes.

    >>> len(short("é" * 100).encode())
    122
    """
    return reason.encode()[:123].decode(errors="ignore")
