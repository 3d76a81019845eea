"""The two stores, one suite; and a WebSocket server with clients around them."""

import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio

from resprout.actors.connection.keeper import Keeper
from resprout.actors.redis import LinkLimits, RedisClient
from resprout.actors.redis.connect import RedisConnect
from resprout.actors.websocket.acceptor import Acceptor, Identity, ServerPolicy, TokenRefused
from resprout.actors.websocket.admission import Admission
from resprout.actors.websocket.client import Client, ClientPolicy, connect
from resprout.actors.websocket.hub import Hub
from resprout.actors.websocket.memory_store import MemoryStore
from resprout.actors.websocket.redis_store import RedisStore
from resprout.actors.websocket.store import Store
from resprout.runtime.events import Event
from resprout.testing.servers import LocalServer


@asynccontextmanager
async def redis_client(server: LocalServer) -> AsyncIterator[RedisClient]:
    """A client whose connection is kept without an actor."""
    connect = RedisConnect(server.url, limits=LinkLimits())
    keeper = Keeper("redis", connect, emit=lambda event: None, actor="test/redis", random=random.Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await keeper.gate.wait_link(trio.current_time() + 5)
        yield RedisClient(keeper.gate)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def redis_store(redis_server: LocalServer) -> AsyncIterator[RedisStore]:
    """An empty store in a real Redis."""
    async with redis_client(redis_server) as redis:
        yield RedisStore(redis, "test", max_stream_messages=50, max_messages=80)


@pytest.fixture
def memory_store() -> MemoryStore:
    """An empty store in memory."""
    return MemoryStore(max_stream_bytes=50 * 210, max_bytes=80 * 210)


@pytest.fixture(params=["memory_store", pytest.param("redis_store", marks=pytest.mark.real)])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn, with room for about 50 short messages per stream and 80 in all."""
    made: Store = request.getfixturevalue(request.param)
    return made


async def token_is_name(token: str) -> Identity:
    """The tests' verifier: a token is ``user`` or ``user/stream``."""
    if token == "bad":
        raise TokenRefused("no such token")
    return Identity(user=token.partition("/")[0], stream=token)


class Site:
    """A server on a port of its own, and ways to break it."""

    def __init__(
        self,
        hub: Hub,
        nursery: trio.Nursery,
        policy: ServerPolicy,
        tls: ssl.SSLContext | None,
        **admission: object,
    ) -> None:
        self.hub, self.policy, self._tls = hub, policy, tls
        self.events: list[Event] = []
        self.port = 0
        self._nursery = nursery
        self._admission = admission
        self._scope = trio.CancelScope()
        hub.emit = self.events.append

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        rules = Admission(hosts={f"127.0.0.1:{self.port}"}, **self._admission)
        self.acceptor = Acceptor(
            hub=lambda: self.hub,
            verify=token_is_name,
            admission=rules,
            policy=self.policy,
            rng=random.Random(2),
            emit=self.events.append,
        )
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._serve, listeners)

    async def _serve(self, listeners: list[trio.SocketListener]) -> None:
        with self._scope:
            await self.acceptor.serve(listeners, self._tls)

    def crash(self) -> None:
        """All connections and the listener are gone at once."""
        self._scope.cancel()

    def client(self, token: str = "ann", **more: object) -> AbstractAsyncContextManager[Client]:
        """A client that reconnects quickly."""
        return connect(self.url, token, policy=QUICK, rng=random.Random(3), **more)


QUICK = ClientPolicy(stable=0.2)

MakeSite = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def site() -> MakeSite:
    """``async with site(store, policy=…, queue=…) as server``: a running server."""

    @asynccontextmanager
    async def make(
        store: Store | None = None,
        *,
        hub: Hub | None = None,
        policy: ServerPolicy | None = None,
        tls: ssl.SSLContext | None = None,
        **admission: object,
    ) -> AsyncIterator[Site]:
        async with trio.open_nursery() as nursery:
            made = Site(
                hub or Hub(store or MemoryStore()), nursery, policy or ServerPolicy(), tls, **admission
            )
            await made.start()
            yield made
            nursery.cancel_scope.cancel()

    return make
