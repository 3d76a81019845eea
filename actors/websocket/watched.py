"""A stream that tells when it has ended, for handshakes: trio-websocket waits for ever for one that cannot come."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from resprout.actors.websocket.peer import PeerGone

T = TypeVar("T")


class WatchedStream(trio.abc.Stream):
    """Passes everything through; *ended* is set once nothing more can be received."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner, self.ended = inner, trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._inner.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        return data

    async def aclose(self) -> None:
        self.ended.set()
        await self._inner.aclose()


async def before_end(stream: WatchedStream, step: Callable[[], Awaitable[T]]) -> T:
    """Run *step*, but not beyond the end of *stream*.

    Raises:
        PeerGone: The stream ended first.
    """
    result: list[T] = []
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            result.append(await step())
            nursery.cancel_scope.cancel(reason="the step is done")

        nursery.start_soon(run)
        await stream.ended.wait()
        nursery.cancel_scope.cancel(reason="the stream has ended")
    if not result:
        raise PeerGone(1006, "closed during the handshake")
    return result[0]
