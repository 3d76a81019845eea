"""What a COPY reads from, some items at a time: each time they change hands costs a change of tasks."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from itertools import islice
from typing import Generic, TypeVar

import trio

T = TypeVar("T")

CLOSE_TIMEOUT = 1.0  # For a generator to clean up after itself.


class Batches(Generic[T]):
    """The items of *source*, plain or asynchronous, up to *size* at a time."""

    def __init__(self, source: Iterable[T] | AsyncIterable[T], size: int) -> None:
        self._plain = iter(source) if isinstance(source, Iterable) else None
        self._asynchronous = aiter(source) if isinstance(source, AsyncIterable) else None
        if self._plain is None and self._asynchronous is None:
            raise TypeError(f"{type(source).__name__} is no iterable, plain or asynchronous")
        self._size = size

    async def next(self) -> list[T]:
        """The next items; none at the end. Raises what *source* raises."""
        if self._plain is not None:
            await trio.lowlevel.checkpoint()
            return list(islice(self._plain, self._size))
        batch: list[T] = []
        while self._asynchronous is not None and len(batch) < self._size:
            try:
                batch.append(await anext(self._asynchronous))
            except StopAsyncIteration:
                break
        return batch

    async def aclose(self) -> None:
        """End a generator that was left in the middle: it would complain when it is collected. Bounded."""
        close = getattr(self._asynchronous, "aclose", None)
        if close is not None:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await close()
