"""COPY on a connection: bytes and records go between the caller's own trio task and asyncpg's asyncio task.

asyncpg runs COPY in an asyncio task of the connection's loop, which asks for the next piece or offers one. The
caller's iterable runs in the caller's task, where it may use trio and be cancelled. What ends early leaves the
connection in step or closed: the asyncio task is cancelled, which tells the server, and then `Host.settle`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence

    from resprout.actors.postgres.batches import Batches
    from resprout.actors.postgres.loop import TrioLoop

T = TypeVar("T")

Sink: TypeAlias = "Callable[[bytes], Coroutine[Any, Any, None]]"

STOP_TIMEOUT = 1.0


class Host(Protocol):
    """What COPY needs of its connection."""

    deadline: float

    @property
    def loop(self) -> TrioLoop:
        """Where asyncpg runs."""
        ...

    async def run(self, statement: Awaitable[T]) -> T:
        """Await *statement*, tell its endings apart, and leave the connection in step or closed."""
        ...

    async def settle(self) -> None:
        """One round trip, behind whatever is on its way."""

    def terminate(self) -> None:
        """Close now."""


class SourceFailed(Exception):
    """The caller's iterable raised *error*: no fault of the connection."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def guarded(source: Iterable[T]) -> Iterator[T]:
    """*source*; what it raises comes out as `SourceFailed`: an OSError of a file is no lost connection."""
    try:
        yield from source
    except Exception as error:
        raise SourceFailed(error) from error


class Feed(Generic[T]):
    """Hands items from a trio task to an asyncio task; iterate over it in the latter.

    asyncpg does not look at the server's answer before the last item, and an endless source never has one. So
    the future in which it awaits the answer is watched here: the one it makes before it asks for an item.
    """

    def __init__(self, loop: TrioLoop, on_answer: Callable[[], None]) -> None:
        """*on_answer* is called when the server has answered."""
        self._loop, self._on_answer = loop, on_answer
        self._wanted: asyncio.Future[Sequence[T]] | None = None
        self._here: deque[T] = deque()
        self._asked = trio.Event()
        self.answered = False  # Before the end: it refused, or was lost.
        self._loop.made = []

    async def put(self, items: Sequence[T]) -> None:
        """Wait until items are wanted, and give some; none at all is the end."""
        await self._asked.wait()
        self._asked = trio.Event()
        self._give(items)

    def end(self) -> None:
        """No more items, and do not wait until some are wanted."""
        self._give(())

    def _give(self, items: Sequence[T]) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._loop.call(self._wanted.set_result, items)

    def __aiter__(self) -> Feed[T]:
        return self

    async def __anext__(self) -> T:
        if self._loop.made is not None:
            made, self._loop.made = self._loop.made, None
            made[-1].add_done_callback(self._answer)
        if not self._here:
            self._wanted = self._loop.create_future()
            self._asked.set()
            self._here.extend(await self._wanted)
        if not self._here:
            raise StopAsyncIteration
        return self._here.popleft()

    def _answer(self, answer: asyncio.Future[Any]) -> None:
        self.answered = answer.cancelled() or answer.exception() is not None
        self._on_answer()


async def copy_in(
    host: Host, source: Batches[T], start: Callable[[Feed[T]], Coroutine[Any, Any, str]]
) -> str:
    """Run *start* in asyncio, fed from *source*, which is iterated here.

    Raises:
        Exception: Whatever *source* raised; nothing was copied.
    """
    try:
        return await host.run(_copy_in(host, source, start))
    except SourceFailed as failed:
        raise failed.error from None


async def _copy_in(
    host: Host, source: Batches[T], start: Callable[[Feed[T]], Coroutine[Any, Any, str]]
) -> str:
    pouring = trio.CancelScope(deadline=host.deadline)
    feed = Feed[T](host.loop, pouring.cancel)
    task = host.loop.start_task(start(feed))
    task.add_done_callback(lambda _: pouring.cancel())
    try:
        with pouring:
            await _pour(source, feed)
        if feed.answered:
            feed.end()  # Nothing it may have taken in is kept.
        if feed.answered or task.done() or not pouring.cancelled_caught:
            with trio.move_on_at(host.deadline):
                return await host.loop.join(task)
    except BaseException:
        await stop(host, task)  # noqa: ASYNC102 - it shields itself, for a while.
        raise
    finally:
        host.loop.made = None
    await stop(host, task)
    raise asyncio.CancelledError  # The deadline passed: as after an interrupt.


async def _pour(source: Batches[T], feed: Feed[T]) -> None:
    try:
        while True:
            try:
                items = await source.next()
            except Exception as error:
                raise SourceFailed(error) from error
            await feed.put(items)
            if not items:
                return
    finally:
        await source.aclose()  # noqa: ASYNC102 - it shields itself, for a while.


class CopyOut:
    """Data of a COPY, piece by piece. One statement of its connection, from the first `next` to `aclose`."""

    def __init__(self, host: Host, start: Callable[[Sink], Coroutine[Any, Any, str]]) -> None:
        """*start* runs it in asyncio and gives each piece to the function it was given."""
        self._host, self._start = host, start
        self._task: asyncio.Task[str] | None = None
        self._piece: bytes | None = None
        self._taken: asyncio.Future[None] | None = None
        self._arrived = trio.Event()

    async def next(self) -> bytes | None:
        """The next piece; None at the end."""
        return await self._host.run(self._next())

    async def aclose(self) -> None:
        """End it, wherever it is; the connection is in step afterwards, or closed. Bounded."""
        if self._task is None or self._task.done():
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope(shield=True):
            await stop(self._host, self._task)
            await self._host.settle()

    async def _next(self) -> bytes | None:
        if self._task is None:
            self._task = self._host.loop.start_task(self._start(self._offer))
            self._task.add_done_callback(lambda _: self._arrived.set())
        elif self._taken is not None:
            taken, self._taken = self._taken, None
            self._host.loop.call(taken.set_result, None)
        try:
            with trio.move_on_at(self._host.deadline) as scope:
                await self._arrived.wait()
        except BaseException:
            await stop(self._host, self._task)  # noqa: ASYNC102 - it shields itself, for a while.
            raise
        if scope.cancelled_caught and not self._arrived.is_set():
            await stop(self._host, self._task)
            raise asyncio.CancelledError  # As after an interrupt.
        if self._piece is None:
            await self._host.loop.join(self._task)
            return None
        piece, self._piece = self._piece, None
        if not self._task.done():
            self._arrived = trio.Event()
        return piece

    async def _offer(self, piece: bytes) -> None:
        self._piece, self._taken = piece, self._host.loop.create_future()
        self._arrived.set()
        await self._taken


async def stop(host: Host, task: asyncio.Task[str]) -> None:
    """Cancel *task* and wait until it has ended; its connection is closed if that takes long."""
    with trio.move_on_after(STOP_TIMEOUT, shield=True) as scope:
        if not task.done():
            host.loop.call(task.cancel)
        with suppress(Exception):  # Whoever stops it has an error of his own, or none.
            await host.loop.join(task)
    if scope.cancelled_caught:
        host.terminate()
