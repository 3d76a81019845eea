"""A Redis made of a script, on memory streams: every corner of the protocol without a socket or a wait."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trio.testing

from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.wire import StreamWire


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
