"""A trio stream as anycorn wants it: an anyio stream, with a deadline on every write.

anycorn shields its writes from cancellation. A client that does not read would then keep us from stopping, so a
write here ends by itself: at its deadline, or when the socket is closed. And anycorn goes on with the requests it
has read when the socket is gone: `cut` ends the conversation as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import trio
from anyio.abc import ByteStream, SocketAttribute


class Wire(ByteStream):
    """One client's connection; the conversation runs inside of *scope*.

    Args:
        stream: The connection.
        idle: Seconds after which a client that sends nothing, while nothing is sent to it, is gone. anycorn
            sees to that itself, but not with HTTP/2.
        write_timeout: Seconds a client may take for one piece of an answer.
    """

    def __init__(self, stream: trio.SocketStream, *, idle: float, write_timeout: float) -> None:
        self.scope = trio.CancelScope()
        self._stream, self._idle, self._write_timeout = stream, idle, write_timeout
        self._sending = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has come. Raises anyio's errors, as all methods here do."""
        try:
            data = await self._receive(max_bytes)
        except trio.ClosedResourceError as error:
            raise anyio.ClosedResourceError from error
        except trio.BrokenResourceError as error:
            raise anyio.BrokenResourceError from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def _receive(self, max_bytes: int) -> bytes:
        while True:
            with trio.move_on_after(self._idle):
                return bytes(await self._stream.receive_some(max_bytes))
            if not self._sending:
                return b""

    async def send(self, item: bytes) -> None:
        """Send all of *item*, or close the connection: a part of an answer is of no use."""
        self._sending = True
        try:
            with trio.fail_after(self._write_timeout):
                await self._stream.send_all(item)
        except trio.ClosedResourceError as error:
            raise anyio.ClosedResourceError from error
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            self.cut()
            raise anyio.BrokenResourceError from error
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Say that no more will be sent."""
        try:
            await self._stream.send_eof()
        except trio.ClosedResourceError as error:
            raise anyio.ClosedResourceError from error
        except trio.BrokenResourceError as error:
            raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Close; idempotent."""
        await self._stream.aclose()

    def cut(self) -> None:
        """Close at once, and end the conversation: whoever waits, even shielded, waits no longer."""
        self._stream.socket.close()
        self.scope.cancel(reason="the connection was cut")

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:  # As anyio declares it.
        """The socket, of which anycorn wants the addresses."""
        return {SocketAttribute.raw_socket: lambda: self._stream.socket}
