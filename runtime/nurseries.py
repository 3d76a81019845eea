"""A nursery that does not wrap what its block raises."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def bare_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for helpers of one block: cancelled with the block, whose exception comes out as it is.

    trio wraps it in a group because several tasks may fail. Here only the block has something to say.
    """
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again below, outside of the nursery.
            failure = error
        nursery.cancel_scope.cancel(reason="the block is over")
    if failure is not None:
        raise failure
