"""More connections beside a link, for what must not share it: commands that wait on the server, for one.

They are opened when they are needed and belong to the life of the main link: once that is lost, so are they,
for a server that hangs or is no longer the master is so for all of them.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from redis.exceptions import RedisError

from resprout.actors.redis.resp import pack
from resprout.actors.redis.slot import NoReply, ServerClosed
from resprout.runtime.classify import is_programming_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from resprout.actors.redis.link import OnPush, RedisLink


LOOK_AGAIN = 0.05  # Seconds between two looks whether those that a drain waits for are done.


class Use(enum.Enum):
    """What a connection is lent for, which says what a drain does with it."""

    WORK = "work"
    """Waited for: a transaction, or writes that are being confirmed."""
    WAIT = "wait"
    """One command that the server keeps until there is something for it. Ended, so that nothing is taken."""
    LISTEN = "listen"
    """A subscription: it never ends by itself, so nobody waits for it."""


class NoSideLink(Exception):
    """No connection beside the main one could be had; nothing was sent. *full*: all allowed are in use."""

    def __init__(self, why: Exception | str, *, full: bool = False) -> None:
        super().__init__(str(why))
        self.full = full
        self.why = why if isinstance(why, Exception) else self


class SideLinks:
    """The connections beside *main*: at most `max_side_links` of its limits, each lent to one task at a time.

    Args:
        main: The link they stand beside.
        open_link: Makes one more; takes what push messages are given to.

    Attributes:
        leaving: The main link is to be closed when nothing is in flight any more, and none is lent any more.
    """

    def __init__(self, main: RedisLink, open_link: Callable[[OnPush | None], Awaitable[RedisLink]]) -> None:
        self._main, self._open_link, self._limits = main, open_link, main.limits
        self._places = trio.Semaphore(main.limits.max_side_links)
        self._lent: dict[RedisLink, Use] = {}
        self._idle: deque[tuple[float, RedisLink]] = deque()  # Since when; the newest stand right.
        self._returned = trio.Event()
        self.leaving = False

    async def run(self) -> None:
        """End them with the main link, and close those that nobody has used for long. Does not raise."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_idle)
            why = await self._main.wait_lost()
            nursery.cancel_scope.cancel()
        for link in [*self._lent, *(link for _, link in self._idle)]:
            if self._main.closed:
                link.abort(why)
            else:
                link.retire(why)

    @asynccontextmanager
    async def lend(
        self, deadline: float, use: Use = Use.WORK, on_push: OnPush | None = None
    ) -> AsyncIterator[RedisLink]:
        """A link for the caller alone, had by *deadline*. It is used again only if every reply has come.

        So a caller who is cancelled while it waits takes the link with it: else the server would later hand
        to nobody what the command was waiting for. One with *on_push* is new, and closed afterwards.

        Raises:
            NoSideLink: None could be had.
        """
        with trio.move_on_at(deadline) as patience:
            await self._places.acquire()
        if patience.cancelled_caught:
            raise NoSideLink(
                f"all {self._limits.max_side_links} connections for such work are in use", full=True
            )
        try:
            if self.leaving:
                raise NoSideLink("the connection is being drained")
            link = (self._reused() if on_push is None else None) or await self._opened(deadline, on_push)
            self._lent[link] = use
            try:
                yield link
            finally:
                del self._lent[link]
                self._take_back(link, reusable=on_push is None)
        finally:
            self._places.release()

    async def wait_idle(self) -> None:
        """End the commands that wait for something to come, and return when the work of the others is done."""
        self.leaving = True
        ends_waits = True
        while any(use is not Use.LISTEN for use in self._lent.values()):
            if ends_waits:
                ends_waits = await self._end_waits()
            await trio.sleep(LOOK_AGAIN)

    async def _end_waits(self) -> bool:
        """Ask the server to end them, which it does only while they have got nothing; False if it may not.

        To close their connections instead could lose what the server has just taken out of a list for them. It
        is repeated: a command that is on its way now begins to wait a moment later.
        """
        for link in [link for link, use in self._lent.items() if use is Use.WAIT and link.number is not None]:
            unblock = pack(("CLIENT", "UNBLOCK", str(link.number), "ERROR"))
            try:
                await self._main.call(unblock, self._limits.reply_timeout)
            except (NoReply, RedisError):
                return False  # Refused to this login, or the main link is lost. The drain has its deadline.
        return True

    def describe(self) -> dict[str, int]:
        """For the tree: how many are in use, and how many wait for their next use."""
        return {"side_links": len(self._lent), "idle_side_links": len(self._idle)}

    def _reused(self) -> RedisLink | None:
        """The one used last, so that those a quiet time does not need grow old."""
        while self._idle:
            _, link = self._idle.pop()
            if link.live:
                return link
        return None

    async def _opened(self, deadline: float, on_push: OnPush | None) -> RedisLink:
        try:
            with trio.fail_at(deadline):
                link = await self._open_link(on_push)
        except trio.TooSlowError as error:
            raise NoSideLink("another connection to the server was not ready in time") from error
        except Exception as error:
            if is_programming_error(error):
                raise
            raise NoSideLink(error) from error
        if not self._main.live:
            link.abort(ServerClosed("the main connection was lost"))
            raise NoSideLink("the main connection was lost")
        return link

    def _take_back(self, link: RedisLink, *, reusable: bool) -> None:
        if reusable and link.live and link.idle and self._main.live and not self.leaving:
            self._idle.append((trio.current_time(), link))
            self._returned.set()
        else:
            link.abort(ServerClosed("nobody waits any more"))

    async def _close_idle(self) -> None:
        while True:
            oldest = self._idle[0][0] if self._idle else math.inf
            with trio.move_on_at(oldest + self._limits.side_idle):
                self._returned = trio.Event()
                await self._returned.wait()
                continue
            _, link = self._idle.popleft()
            link.abort(ServerClosed("it was idle for long"))
