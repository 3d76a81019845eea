"""One attempt to reach a Redis: resolve, open, log in. The keeper of the connection repeats it for ever."""

import inspect
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs
import trio
from redis.exceptions import ResponseError

from resprout.actors.redis.endpoint import Endpoint, parse_url
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.resp import pack
from resprout.actors.redis.slot import ServerClosed
from resprout.actors.redis.wire import SocketWire, StreamWire, Wire
from resprout.runtime.classify import leaves

UrlSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A URL, or a function that gives one; it is asked on each attempt, so credentials can rotate."""

# A peer that vanished is noticed after 30 + 3 * 5 s while idle, and after 20 s with data under way.
TCP_OPTIONS = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}


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
        endpoint = await self._endpoint()
        link = RedisLink(await open_wire(endpoint, self.ssl_context), self.limits)
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
    stream = await _open_tcp(endpoint)
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in TCP_OPTIONS.items():
            if hasattr(socket, name):  # Some are Linux only.
                stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if not endpoint.tls:
            return _plain(stream)
        context = ssl_context or ssl.create_default_context(cafile=endpoint.ca_file)
        secure = trio.SSLStream(stream, context, server_hostname=endpoint.host)
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return StreamWire(secure)


async def _open_tcp(endpoint: Endpoint) -> trio.SocketStream:
    """As `trio.open_tcp_stream`, but an error says what went wrong, and where."""
    try:
        return await trio.open_tcp_stream(endpoint.host, endpoint.port)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"{error.strerror}: {endpoint.host}") from None
    except OSError as error:
        reason = next(leaves(error.__cause__)) if error.__cause__ is not None else error
        if not isinstance(reason, OSError) or reason.errno is None:
            raise
        text = f"{os.strerror(reason.errno)}: {endpoint.host}:{endpoint.port}"
        raise OSError(reason.errno, text) from None  # Python makes it a ConnectionRefusedError and so on.


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
