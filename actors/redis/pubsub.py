"""Messages of channels, over a connection of their own that is subscribed again after every loss.

A task keeps the connection; the link's reader puts what comes into a bounded buffer; whoever iterates takes it
out. Redis keeps nothing for a subscriber who is away, so after each loss there is a `MaybeMissed` among the
items, behind the gap and after the new subscription: who looks at the state of things then has missed nothing.
"""

from __future__ import annotations

import math
import random
from collections import deque
from typing import TYPE_CHECKING, NoReturn, Self

import attrs
import trio
from redis.exceptions import ResponseError

from resprout.actors.connection.on_down import OnDown
from resprout.actors.connection.policy import DEFAULT_POLICY
from resprout.actors.redis.check import check_echo
from resprout.actors.redis.link import WRONG_SERVER, RedisLink
from resprout.actors.redis.resp import pack
from resprout.actors.redis.side import NoSideLink, Use
from resprout.actors.redis.slot import NoReply, ProtocolViolation
from resprout.runtime.backoff import delay
from resprout.runtime.errors import Unavailable
from resprout.runtime.telling import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from resprout.actors.redis.courier import Courier


@attrs.frozen
class Message:
    """What somebody published.

    Attributes:
        channel: Where.
        data: As bytes, or as str if the client decodes.
        pattern: The pattern that *channel* fits, if it was subscribed by one.
    """

    channel: str
    data: str | bytes
    pattern: str | None = None


@attrs.frozen
class MaybeMissed:
    """Messages before this item may be missing: look at the state of things itself, not at its changes.

    Attributes:
        why: What happened, for people.
        dropped: How many were thrown away here because nobody took them; 0 if the connection was lost.
    """

    why: str
    dropped: int = 0


class Inbox:
    """A bounded buffer: if nobody takes items out, the oldest go, and their number is told in their place."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._items: deque[tuple[int, list[bytes] | MaybeMissed]] = deque()
        self._bytes = self._dropped = 0
        self.filled = trio.Event()

    def add(self, item: list[bytes] | MaybeMissed) -> None:
        """Put *item* in; the newest always stays."""
        size = 0 if isinstance(item, MaybeMissed) else sum(map(len, item))
        self._items.append((size, item))
        self._bytes += size
        while len(self._items) > 1 and (
            len(self._items) > self._max_messages or self._bytes > self._max_bytes
        ):
            self._bytes -= self._items.popleft()[0]
            self._dropped += 1
        self.filled.set()

    def like(self) -> Inbox:
        """An empty one with the same bounds."""
        return Inbox(self._max_messages, self._max_bytes)

    def take(self) -> list[bytes] | MaybeMissed | None:
        """The next item, the oldest first; None if there is none."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return MaybeMissed(f"{dropped} messages were not taken in time and dropped", dropped)
        if not self._items:
            self.filled = trio.Event()
            return None
        size, item = self._items.popleft()
        self._bytes -= size
        return item


class Subscription:
    """``async with redis.subscribe("news") as news: async for item in news: …``; see `RedisClient.subscribe`.

    Items are `Message` and `MaybeMissed`. To be iterated by one task; it ends only with the block, or with
    an error that waiting does not heal.
    """

    def __init__(
        self,
        courier: Courier,
        channels: Iterable[str],
        patterns: Iterable[str],
        *,
        decode: bool,
        inbox: Inbox,
        heartbeat: float,
    ) -> None:
        self._courier, self._decode, self._inbox, self._heartbeat = courier, decode, inbox, heartbeat
        self._wanted = {"": dict.fromkeys(channels), "P": dict.fromkeys(patterns)}
        self._filling = inbox  # Where the reader puts messages now.
        self._nursery, self._scope = trio.open_nursery(), trio.CancelScope()
        self._link: RedisLink | None = None
        self._moved = trio.Event()  # Renewed whenever the link comes or goes.
        self._why: Exception | None = None  # Why there is no link; None while the first attempt runs.
        self._over: Exception | None = None
        self._was_up = False
        self._random = random.Random()

    @property
    def channels(self) -> frozenset[str]:
        """The channels subscribed to, or to be subscribed to when the connection is back."""
        return frozenset(self._wanted[""])

    @property
    def patterns(self) -> frozenset[str]:
        """The same for patterns."""
        return frozenset(self._wanted["P"])

    async def __aenter__(self) -> Self:
        deadline = trio.current_time() + self._courier.policy.timeout
        await self._courier.present(deadline)
        nursery = await self._nursery.__aenter__()
        self._scope = nursery.cancel_scope
        nursery.start_soon(self._keep)
        try:
            await self._wait_until_subscribed(deadline)
        except BaseException:
            await self._end()  # noqa: ASYNC102 - waits for nobody.
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()  # noqa: ASYNC102 - waits for nobody.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | MaybeMissed:
        await trio.lowlevel.checkpoint()
        while (item := self._inbox.take()) is None:
            if self._over is not None:
                raise self._over
            await self._inbox.filled.wait()
        return item if isinstance(item, MaybeMissed) else self._message(item)

    async def subscribe(self, *channels: str, patterns: Iterable[str] = ()) -> None:
        """Add channels and patterns; returns when the server has confirmed them.

        Raises:
            Unavailable: There was no connection within the client's timeout; they are subscribed when it is back.
            redis.exceptions.ResponseError: The server refused, for instance by its ACL; they are not added.
        """
        added = self._new("", channels), self._new("P", patterns)
        for kind, names in zip(("", "P"), added, strict=True):
            self._wanted[kind] |= dict.fromkeys(names)
        try:
            await self._change("SUBSCRIBE", *added)
        except ResponseError:
            for kind, names in zip(("", "P"), added, strict=True):
                for name in names:
                    self._wanted[kind].pop(name, None)
            raise

    async def unsubscribe(self, *channels: str, patterns: Iterable[str] = ()) -> None:
        """Give up channels and patterns; what is in the buffer stays there.

        Raises:
            Unavailable: There was no connection within the client's timeout; they are given up all the same.
        """
        patterns = tuple(patterns)
        for kind, names in (("", channels), ("P", patterns)):
            for name in names:
                self._wanted[kind].pop(name, None)
        await self._change("UNSUBSCRIBE", list(channels), list(patterns))

    def _new(self, kind: str, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._wanted[kind]]

    async def _change(self, verb: str, channels: list[str], patterns: list[str]) -> None:
        """Tell the present link; a link that comes later is told everything anyway."""
        deadline = trio.current_time() + self._courier.policy.timeout
        if self._link is not None and (channels or patterns):
            try:
                await tell(self._link, verb, channels, patterns)
            except NoReply as lost:
                self._link, self._why = None, lost.why
        await self._wait_until_subscribed(deadline)

    async def _wait_until_subscribed(self, deadline: float) -> None:
        """Until there is a subscribed link; the client's on_down says whether a failure is the end of it."""
        policy, service = self._courier.policy, self._courier.service
        with trio.move_on_at(deadline):
            while self._link is None and (self._why is None or policy.on_down is OnDown.WAIT):
                if self._over is not None:
                    break
                await self._moved.wait()
        if self._over is not None:
            raise self._over
        if self._link is None:
            why = "no answer in time" if self._why is None else sentence(self._why)
            raise Unavailable(service, f"not subscribed: {why}", cause=self._why)

    # The task that keeps the connection.

    async def _keep(self) -> None:
        """Subscribe, watch, and again. What nobody can heal is kept for those who iterate."""
        failures = 0
        try:
            while True:
                main = await self._courier.wait_link(math.inf)
                try:
                    await self._subscribed(main)
                except (NoReply, NoSideLink, ProtocolViolation, *WRONG_SERVER) as error:
                    if isinstance(error, WRONG_SERVER):
                        main.refused(error)
                    failures = 1 if self._link is not None else failures + 1
                    self._move(None, error.why if isinstance(error, NoReply | NoSideLink) else error)
                await trio.sleep(delay(DEFAULT_POLICY.backoff, failures, self._random))
        except Exception as error:  # noqa: BLE001 - raised where it is seen: in whoever iterates.
            self._over = error
            self._move(None, error)
            self._inbox.filled.set()

    async def _subscribed(self, main: RedisLink) -> NoReturn:
        """The life of one link; always ends in an error."""
        if main.side is None:
            raise NoSideLink("this connection was made without others beside it")
        deadline = trio.current_time() + main.limits.reply_timeout * 2
        early = self._filling = self._inbox.like()  # What comes before all is confirmed, behind the gap.
        async with main.side.lend(deadline, Use.LISTEN, self._push) as link:
            await tell(link, "SUBSCRIBE", list(self._wanted[""]), list(self._wanted["P"]))
            if self._was_up:
                why = "unknown" if self._why is None else sentence(self._why)
                self._inbox.add(MaybeMissed(f"the connection was lost: {why}"))
            while (item := early.take()) is not None:
                self._inbox.add(item)
            self._filling = self._inbox
            self._move(link, None)
            while True:
                with trio.move_on_after(self._heartbeat):
                    raise NoSideLink(await link.wait_lost())
                await link.probe()

    def _move(self, link: RedisLink | None, why: Exception | None) -> None:
        self._link, self._why = link, why
        self._was_up = self._was_up or link is not None
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    def _push(self, push: list[object]) -> None:
        kind, *parts = push
        if kind in (b"message", b"pmessage") and all(isinstance(part, bytes) for part in parts):
            self._filling.add([part for part in parts if isinstance(part, bytes)])

    def _message(self, parts: list[bytes]) -> Message:
        *pattern, channel, data = parts
        return Message(
            channel=_text(channel),
            data=data.decode() if self._decode else data,
            pattern=_text(pattern[0]) if pattern else None,
        )

    async def _end(self) -> None:
        # The block's own error goes on its way as it is: given to the nursery it would come out in a group.
        self._scope.cancel()
        await self._nursery.__aexit__(None, None, None)


async def tell(link: RedisLink, verb: str, channels: list[str], patterns: list[str]) -> None:
    """Subscribe or unsubscribe on *link*; returns when the server has done it.

    The server confirms with push messages, which are no replies, but refuses with a reply. So a ``PING``
    follows, as the one reply to all. After a refusal the answer to it is more than was asked for, and the
    link closes; a new one starts clean.

    Raises:
        redis.exceptions.ResponseError: The server refused.
        NoReply: The link was lost.
    """
    kinds = (("", channels), ("P", patterns))
    await check_echo(link, before=b"".join(pack((kind + verb, *names)) for kind, names in kinds if names))


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
