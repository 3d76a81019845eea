"""Two Redis servers: a script on memory streams for every corner of the protocol, and a real one."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trio.testing

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.keeper import Keeper
from resprout.actors.redis.connect import RedisConnect, UrlSource
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.wire import StreamWire
from resprout.runtime.events import Event
from resprout.testing.servers import LocalServer, redis_server


class FakeServer:
    """The server's end of a link. It answers nothing by itself."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def reads(self) -> bytes:
        """The bytes that have arrived."""
        return bytes(await self.stream.receive_some())

    async def says(self, data: bytes) -> None:
        """Send *data* and let the link work on it."""
        await self.stream.send_all(data)
        await trio.testing.wait_all_tasks_blocked()


Serve = Callable[..., AbstractAsyncContextManager[tuple[RedisLink, FakeServer]]]


@pytest.fixture
def linked() -> Serve:
    """``async with linked(limits) as (link, server)``: a running link and the other end of its wire."""

    @asynccontextmanager
    async def start(limits: LinkLimits | None = None) -> AsyncIterator[tuple[RedisLink, FakeServer]]:
        near, far = trio.testing.memory_stream_pair()
        link = RedisLink(StreamWire(near), limits)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await trio.testing.wait_all_tasks_blocked()
            yield link, FakeServer(far)
            nursery.cancel_scope.cancel()

    return start


@pytest.fixture
async def redis_at() -> AsyncIterator[LocalServer]:
    """An empty Redis."""
    async with redis_server(fsync="no") as server:
        yield server


Keep = Callable[..., AbstractAsyncContextManager[Gate[RedisLink]]]


@pytest.fixture
def kept() -> Keep:
    """``async with kept(url) as gate``: a connection kept alive without any actor; ready, or told not to wait."""

    @asynccontextmanager
    async def start(
        url: UrlSource, *, ready: bool = True, limits: LinkLimits | None = None
    ) -> AsyncIterator[Gate[RedisLink]]:
        events: list[Event] = []
        keeper = Keeper(
            "redis",
            RedisConnect(url, limits=limits or LinkLimits()),
            emit=events.append,
            actor="test/redis",
            random=random.Random(1),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            if ready:
                await keeper.gate.wait_link(trio.current_time() + 5)
            yield keeper.gate
            nursery.cancel_scope.cancel()

    return start
