"""Where a server is, and the way there."""

import ssl
from functools import partial
from typing import Self
from urllib.parse import urlsplit

import attrs
import trio
from trio_websocket import wrap_client_stream

from resprout.actors.connection.dial import dial, secured
from resprout.actors.websocket.peer import WebSocketPeer
from resprout.actors.websocket.watched import WatchedStream, before_end
from resprout.actors.websocket.wire import MAX_FRAME_BYTES


@attrs.frozen(kw_only=True)
class Address:
    """Where the server is."""

    host: str
    port: int
    resource: str
    tls: ssl.SSLContext | None
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def parse(cls, url: str, tls: ssl.SSLContext | None, origin: str | None) -> Self:
        """Read ``ws://host:port/path`` or ``wss://…``.

        Raises:
            ValueError: If it is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"expected ws://host:port/path or wss://…, not {url!r}")
        if parts.scheme == "wss" and tls is None:
            tls = ssl.create_default_context()
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        headers = () if origin is None else ((b"Origin", origin.encode()),)
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host=parts.hostname, port=port, resource=resource, tls=tls, headers=headers)

    async def open(self, nursery: trio.Nursery) -> WebSocketPeer:
        """Connect; the connection's reader runs in *nursery*."""
        plain = await dial(self.host, self.port)
        try:
            stream = WatchedStream(await self._secured(plain))
            name = f"[{self.host}]" if ":" in self.host else self.host
            host = name if self.port in (80, 443) else f"{name}:{self.port}"
            shake_hands = partial(
                wrap_client_stream,
                nursery,
                stream,  # type: ignore[arg-type] # Any stream will do, although it asks for one of two kinds.
                host,
                self.resource,
                extra_headers=list(self.headers),
                message_queue_size=16,
                max_message_size=MAX_FRAME_BYTES,
            )
            return WebSocketPeer(await before_end(stream, shake_hands), stream)
        except BaseException:
            await trio.aclose_forcefully(plain)
            raise

    async def _secured(self, plain: trio.SocketStream) -> trio.abc.Stream:
        if self.tls is None:
            return plain
        return await secured(plain, self.tls, self.host, https_compatible=True)
