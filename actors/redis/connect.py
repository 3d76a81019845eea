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
from resprout.actors.redis.check import check_role
from resprout.actors.redis.endpoint import Endpoint
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.link import OnPush, RedisLink
from resprout.actors.redis.refusal import ClusterRefused
from resprout.actors.redis.resp import pack
from resprout.actors.redis.sentinel import SentinelGroup, parse_source
from resprout.actors.redis.side import SideLinks
from resprout.actors.redis.slot import ServerClosed
from resprout.actors.redis.wire import SocketWire, StreamWire, Wire
from resprout.runtime.classify import is_programming_error, unwrapped
from resprout.runtime.telling import sentence

UrlSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A URL, or a function that gives one; it is asked on each attempt, so credentials can rotate."""

ContextSource: TypeAlias = ssl.SSLContext | Callable[[], ssl.SSLContext] | None
"""A TLS context, a function that gives one on each attempt, so certificates can rotate, or the default."""

ASK_TIMEOUT = 1.0  # Seconds for one Sentinel.


@attrs.frozen
class RedisConnect:
    """Called with a nursery it makes one attempt and returns a live link, whose tasks run in that nursery.

    Attributes:
        source: Where to connect to.
        client_name: What ``CLIENT LIST`` on the server shows; no spaces.
        limits: Bounds of the link.
        ssl_context: Used with ``rediss``, or a function that gives one on each attempt; None makes one that
            verifies against the system's certificates, or those of ``ca_file``.

    Raises:
        ValueError: *source* is a wrong URL. From a function it is raised by the attempt.
    """

    source: UrlSource = attrs.field(repr=False)
    client_name: str = "resprout"
    limits: LinkLimits = attrs.field(factory=LinkLimits)
    ssl_context: ContextSource = None

    def __attrs_post_init__(self) -> None:
        if isinstance(self.source, str):
            parse_source(self.source)

    async def __call__(self, nursery: trio.Nursery) -> RedisLink:
        link = await self._open(nursery)
        link.side = SideLinks(link, partial(self._open, nursery, link))
        nursery.start_soon(link.side.run)
        return link

    async def _open(
        self, nursery: trio.Nursery, beside: RedisLink | None = None, on_push: OnPush | None = None
    ) -> RedisLink:
        """A link that is logged in; it runs in *nursery*, which is open for as long as *beside* lives."""
        source = await self._source()
        if isinstance(source, Endpoint):
            return await self._reach(source, nursery, beside, on_push)
        failures: dict[str, Exception] = {}
        for sentinel in source.sentinels:
            said = f"{sentinel.host}:{sentinel.port}"
            try:
                master = source.at(*await ask(sentinel, source.name, self._context()))
                said += f", which named {master.host}:{master.port}"
                return await self._reach(master, nursery, beside, on_push, must_be_master=True)
            except Exception as error:
                if is_programming_error(error):
                    raise
                failures[said] = error
        told = "; ".join(f"{said}: {sentence(error)}" for said, error in failures.items())
        raise NoMaster(f"no master from {source} ({told})")

    async def _reach(
        self,
        endpoint: Endpoint,
        nursery: trio.Nursery,
        beside: RedisLink | None,
        on_push: OnPush | None,
        *,
        must_be_master: bool = False,
    ) -> RedisLink:
        wire = await open_wire(endpoint, self._context())
        if beside is not None and not beside.live:
            await wire.aclose()
            raise ServerClosed("the main connection was lost")
        link = RedisLink(wire, self.limits, on_push=on_push, must_be_master=must_be_master)
        nursery.start_soon(link.run)
        try:
            await greet(link, endpoint, self.client_name)
            if must_be_master:
                await check_role(link)
        except BaseException:
            link.abort(ServerClosed("the handshake failed"))
            raise
        return link

    async def _source(self) -> Endpoint | SentinelGroup:
        if isinstance(self.source, str):
            return parse_source(self.source)
        url = self.source()
        return parse_source(await url if inspect.isawaitable(url) else url)

    def _context(self) -> ssl.SSLContext | None:
        return self.ssl_context() if callable(self.ssl_context) else self.ssl_context


class NoMaster(ConnectionError):
    """The Sentinels named no server that is a master now. During a failover this passes by itself."""


async def ask(sentinel: Endpoint, name: str, ssl_context: ssl.SSLContext | None = None) -> tuple[str, int]:
    """Ask one Sentinel where the master *name* is; it has a second to answer.

    Raises:
        NoMaster: It knows none.
        OSError: It cannot be reached in time.
        redis.exceptions.RedisError: It refused to say.
    """
    try:
        with trio.fail_after(ASK_TIMEOUT):
            async with trio.open_nursery() as nursery:
                link = RedisLink(await open_wire(sentinel, ssl_context))
                nursery.start_soon(link.run)
                await greet(link, sentinel, "resprout")
                asked = pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name))
                reply = await link.call(asked, ASK_TIMEOUT)
                nursery.cancel_scope.cancel()
    except trio.TooSlowError:
        raise TimeoutError(f"no answer within {ASK_TIMEOUT:g} s") from None
    except ExceptionGroup as group:
        raise unwrapped(group) from None
    match reply:
        case [bytes(host), bytes(port)]:
            return host.decode(), int(port)
        case _:
            raise NoMaster(f"it knows no master named {name!r}")


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
        ClusterRefused: The server belongs to a cluster.
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
        if isinstance(reply, dict) and reply.get(b"mode") == b"cluster":
            raise ClusterRefused(f"{endpoint} says so")
        if isinstance(reply, dict) and isinstance(number := reply.get(b"id"), int):
            link.number = number
