"""The chat's supervision tree, as data."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from examples.chat import names
from examples.chat.actors import ASSISTANT, ROOMS, TRENDING, Assistant, Rooms, Trending
from examples.chat.sessions import sessions
from examples.chat.settings import Settings
from resprout import REST_FOR_ONE, ChildSpec, Name, SupervisorSpec, Unavailable, child, supervisor
from resprout.actors.auth import AuthClient, Authenticator, AuthPolicy, Verifier
from resprout.actors.console import ConsoleServer
from resprout.actors.http import HttpEndpoint
from resprout.actors.mcp import McpConnection, Stdio
from resprout.actors.monitor import HealthMonitor, Place
from resprout.actors.postgres import PostgresPool
from resprout.actors.process import Endpoint, ServerProcess, recipes, server_child
from resprout.actors.redis import RedisClient, RedisConnection
from resprout.actors.websocket import MessageQueue, RedisStore, WebSocketServer
from resprout.supervisors import CoolDown

TOOLS_SERVER = Stdio(command=(sys.executable, str(Path(__file__).with_name("tools.py"))))


@attrs.frozen(kw_only=True)
class Parts:
    """What the tree is made of; the demo puts in parts that break when told to."""

    rooms: type[Rooms] = Rooms
    trending: Callable[[], Trending] = Trending
    live: type[WebSocketServer] = WebSocketServer
    verifier: Verifier[str] = sessions
    auth: AuthPolicy = AuthPolicy()


def build(settings: Settings, parts: Parts = Parts()) -> SupervisorSpec:
    """The whole chat. Servers come first and end last; what uses a connection starts after it."""
    return supervisor(
        "chat",
        # First, so that it answers while the rest starts and drains.
        child("http", partial(HttpEndpoint, port=settings.http_port, monitor=names.MONITOR)),
        *_servers(settings),
        _connections(settings),
        _delivery(settings, parts),
        child("auth", partial(Authenticator, parts.verifier, policy=parts.auth), name=names.AUTH),
        child("rooms", parts.rooms, name=ROOMS),
        child("assistant", Assistant, name=ASSISTANT),
        # Nobody depends on what is in fashion: its crashes end here, and it comes back by and by.
        supervisor("extras", child("trending", parts.trending, name=TRENDING), on_limit=CoolDown(first=1.0)),
        *_watch(settings),
    )


def _servers(settings: Settings) -> list[ChildSpec]:
    """Redis and Postgres of our own, unless we were given others."""
    wanted = [
        (settings.redis_url, names.REDIS_SERVER, recipes.redis()),
        (settings.database_url, names.POSTGRES_SERVER, recipes.postgres()),
    ]
    own = [
        server_child(name.key, recipe, name=name, directory=settings.data and settings.data / name.key)
        for url, name, recipe in wanted
        if url is None
    ]
    return [supervisor("servers", *own, on_limit=CoolDown())] if own else []


def _connections(settings: Settings) -> ChildSpec:
    redis = settings.redis_url or partial(_url_of, names.REDIS_SERVER)
    database = settings.database_url or partial(_url_of, names.POSTGRES_SERVER)
    return supervisor(
        "connections",
        child("redis", partial(RedisConnection, redis), name=names.REDIS),
        child("postgres", partial(PostgresPool, database), name=names.POSTGRES),
        child("tools", partial(McpConnection, TOOLS_SERVER), name=names.TOOLS),
        on_limit=CoolDown(),
    )


def _delivery(settings: Settings, parts: Parts) -> ChildSpec:
    """The queue, and the server that empties it. A crash of the queue takes the server with it."""
    store = RedisStore(RedisClient(names.REDIS), queue="chat")
    return supervisor(
        "delivery",
        child("queue", partial(MessageQueue, store), name=names.QUEUE),
        child("live", partial(parts.live, names.QUEUE, _who, port=settings.live_port), name=names.LIVE),
        strategy=REST_FOR_ONE,
        on_limit=CoolDown(),
    )


def _watch(settings: Settings) -> list[ChildSpec]:
    watched: dict[str, Place] = {
        "redis": names.REDIS,
        "postgres": names.POSTGRES,
        "tools": names.TOOLS,
        "auth": names.AUTH,
    }
    monitor = partial(HealthMonitor, watched, required=["redis", "postgres"])
    return [
        child("monitor", monitor, name=names.MONITOR),
        child("console", ConsoleServer),
    ]


async def _who(token: str) -> str:
    """Whose messages a WebSocket client gets: those of the owner of its session token."""
    client: AuthClient[str] = AuthClient(names.AUTH)
    return await client.verify(token)


def _url_of(server: Name[ServerProcess]) -> str:
    """Asked on each attempt to connect: a server that was restarted may be somewhere else."""
    endpoint = server.offered(Endpoint)
    if endpoint is None:
        raise Unavailable(server.key, "its process does not run", state="restarting")
    return endpoint.url
