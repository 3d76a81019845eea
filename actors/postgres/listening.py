"""A block in which somebody listens: its listener runs beside it, and what the block raises comes out as it is."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from resprout.actors.postgres.notifications import Listener, Notifications
from resprout.actors.postgres.outcomes import not_listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from resprout.actors.connection.gate import Gate
    from resprout.actors.postgres.pool import Pool
    from resprout.actors.postgres.setting import Setting


@asynccontextmanager
async def listening(
    setting: Setting, gate: Gate[Pool], channels: tuple[str, ...], buffer: int, deadline: float
) -> AsyncIterator[Notifications]:
    """Hear what is sent on *channels*, at most *buffer* notices at a time, until the block or the pool ends.

    Raises:
        Unavailable: There was no connection by *deadline*, a moment on the trio clock.
        Draining: The pool is being stopped; while the block runs, `Notifications` raises it.
    """
    notifications = Notifications(buffer)
    listener = Listener(setting, channels, notifications)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def end_with_the_pool() -> None:
            notifications._end(await gate.wait_ending())
            listener.listening.set()
            work.cancel()

        async def listen() -> None:
            with work:
                await listener.run()

        work = trio.CancelScope()
        nursery.start_soon(listen)
        nursery.start_soon(end_with_the_pool)
        with trio.move_on_at(deadline):
            await listener.listening.wait()
        try:
            if not listener.listening.is_set():
                raise not_listening(gate.service, listener.last_error)
            notifications._check()
            yield notifications
        except Exception as error:  # noqa: BLE001 - raised below, out of the nursery's group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
