"""One attempt to reach a Redis: resolve, open, log in. The keeper of the connection repeats it for ever."""

import inspect
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import attrs
import trio
from redis.exceptions import ResponseError

from resprout.actors.connection.dial import dial, secured
from resprout.actors.redis.endpoint import Endpoint, parse_url
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.link import OnPush, RedisLink
from resprout.actors.redis.resp import pack
from resprout.actors.redis.side import SideLinks
from resprout.actors.redis.slot import ServerClosed
from resprout.actors.redis.wire import SocketWire, StreamWire, Wire

UrlSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A URL, or a function that gives one; it is asked on each attempt, so credentials can rotate."""


@attrs.frozen
class RedisConnect:
    """Called with a nursery it makes one attempt and returns a live link, whose tasks run in that nursery.

    Attributes:
        source: Where to connect to.
        client_name: What ``CLIENT LIST`` on the server shows; no spaces.
        limits: Bounds of the link.
        ssl_context: Used with ``rediss``; None makes one that verifies against the system's certificates,
            or those of ``ca_file``.

    Raises:
        ValueError: *source* is a wrong URL. From a function it is raised by the attempt.
    """

    source: UrlSource = attrs.field(repr=False)
    client_name: str = "resprout"
    limits: LinkLimits = attrs.field(factory=LinkLimits)
    ssl_context: ssl.SSLContext | None = None

    def __attrs_post_init__(self) -> None:
        if isinstance(self.source, str):
            parse_url(self.source)

    async def __call__(self, nursery: trio.Nursery) -> RedisLink:
        link = await self._open(nursery)
        link.side = SideLinks(link, partial(self._open, nursery, link))
        nursery.start_soon(link.side.run)
        return link

    async def _open(
        self, nursery: trio.Nursery, beside: RedisLink | None = None, on_push: OnPush | None = None
    ) -> RedisLink:
        """A link that is logged in; it runs in *nursery*, which is open for as long as *beside* lives."""
        endpoint = await self._endpoint()
        wire = await open_wire(endpoint, self.ssl_context)
        if beside is not None and not beside.live:
            await wire.aclose()
            raise ServerClosed("the main connection was lost")
        link = RedisLink(wire, self.limits, on_push=on_push)
        nursery.start_soon(link.run)
        try:
            await greet(link, endpoint, self.client_name)
        except BaseException:
            link.abort(ServerClosed("the handshake failed"))
            raise
        return link

    async def _endpoint(self) -> Endpoint:
        if isinstance(self.source, str):
            return parse_url(self.source)
        url = self.source()
        return parse_url(await url if inspect.isawaitable(url) else url)


async def open_wire(endpoint: Endpoint, ssl_context: ssl.SSLContext | None = None) -> Wire:
    """Open a connection to *endpoint*; the name is resolved anew.

    Raises:
        OSError: Nobody answers there.
        ssl.SSLError: The server's certificate is not to be trusted.
    """
    if endpoint.path is not None:
        return _plain(await trio.open_unix_socket(endpoint.path))
    stream = await dial(endpoint.host, endpoint.port)
    if not endpoint.tls:
        return _plain(stream)
    try:
        context = ssl_context or ssl.create_default_context(cafile=endpoint.ca_file)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return StreamWire(await secured(stream, context, endpoint.host))


def _plain(stream: trio.SocketStream) -> SocketWire:
    """Take the socket out of *stream*: the link drives it by itself."""
    kind = stream.socket.family, stream.socket.type, stream.socket.proto
    return SocketWire(socket.socket(*kind, fileno=stream.socket.detach()))


async def greet(link: RedisLink, endpoint: Endpoint, client_name: str) -> None:
    """Agree on RESP3, log in, give our name and choose the database.

    Raises:
        redis.exceptions.AuthenticationError: The login was refused.
        redis.exceptions.RedisError: The server refused something else.
        NoReply: It said nothing.
    """
    hello: list[str] = ["HELLO", "3"]
    if endpoint.password is not None:
        hello += ["AUTH", endpoint.username or "default", endpoint.password]
    hello += ["SETNAME", client_name]
    commands = [pack(tuple(hello))]
    if endpoint.db:
        commands.append(pack(("SELECT", endpoint.db)))
    for reply in await link.call_many(commands, link.limits.reply_timeout, atomic=False):
        if isinstance(reply, Exception) and endpoint.password:
            # A server that does not know HELLO repeats its arguments, and what it says is logged.
            reply.args = (str(reply).replace(endpoint.password, "***"),)
        if isinstance(reply, ResponseError) and "unknown command" in str(reply).lower():
            raise ResponseError(f"{reply}; resprout needs RESP3, which came with Redis 6") from reply
        if isinstance(reply, Exception):
            raise reply
