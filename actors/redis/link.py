"""One pipelined connection to Redis: the commands of many tasks, coalesced, and their replies in order.

No reply ever reaches anyone but its caller: a cancelled command keeps its place in the line and its reply is
dropped there; a link whose state is unsure is closed, never reused. Once it is lost nothing is written any
more, so what its errors say about `Sent` stays true.

Ctrl-C must not raise between two steps that belong together, such as queueing a slot and its command: what
callers run here is protected from it (which costs nothing), and so are the link's own tasks.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import hiredis
import trio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError

from resprout.actors.redis.check import check_echo, check_role
from resprout.actors.redis.line import Line, LinkLimits
from resprout.actors.redis.resp import INCOMPLETE, new_parser
from resprout.actors.redis.slot import NoReply, ProtocolViolation, ReplyOverdue, ServerClosed, Slot
from resprout.actors.redis.wire import StreamWire, Wire
from resprout.actors.redis.writer import SHIPLOAD, Writer
from resprout.runtime.errors import Sent

if TYPE_CHECKING:
    from resprout.actors.redis.side import SideLinks

WRONG_SERVER = (RedisConnectionError, ReadOnlyError, MasterDownError)
"""Error replies that say: this server, or this login, is not the right one now. They expire the link.

`RedisConnectionError` is redis-py's base of LOADING, NOAUTH and "max number of clients reached".
"""

OnPush = Callable[[list[object]], None]
"""What takes push messages; called by the reader, so it must not wait and must not raise."""


class RedisLink:
    """One live connection; `run` drives it and ends, without raising, once it is lost or closed.

    Attributes:
        limits: Its bounds.
        pushes: Push messages received; they are no replies.
        proven: A client got a real reply over this link.
        number: What the server calls it, as in ``CLIENT LIST``; None if it did not say.
        side: Connections beside this one; None if there are none to be had.
    """

    def __init__(
        self,
        wire: Wire,
        limits: LinkLimits | None = None,
        *,
        on_push: OnPush | None = None,
        must_be_master: bool = False,
    ) -> None:
        self.limits = limits or LinkLimits()
        self.pushes = 0
        self.proven = False
        self.number: int | None = None
        self.side: SideLinks | None = None
        self._now = trio.lowlevel.current_clock().current_time  # One call less than trio.current_time.
        self._on_push, self._must_be_master = on_push, must_be_master
        self._wire = wire
        self._line = Line(wire, self.limits)
        self._parser = new_parser()
        self._writer = Writer(self._line, wire)
        self._crowd = 0  # Replies that came with the last read.
        self._since = -math.inf  # Last sign of life, or the moment the line stopped being empty.
        self._born = self._now()
        self._soonest = math.inf
        self._alarm, self._scope = trio.CancelScope(), trio.CancelScope()
        self._retire_by = math.inf
        self._lost: Exception | None = None
        self._lost_event = trio.Event()
        self._idle: trio.Event | None = None
        self._closed = trio.Event()

    # What clients use.

    @trio.lowlevel.enable_ki_protection
    async def call(self, data: bytes, timeout: float) -> object:
        """Send one packed command and wait for its reply.

        Args:
            data: The command in RESP.
            timeout: Seconds until the caller gives up.

        Raises:
            NoReply: no reply, with what is known of the command.
            redis.exceptions.RedisError: the server answered with an error.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # Who is cancelled already sends nothing.
        now, line = self._now(), self._line
        slot = Slot(trio.lowlevel.current_task(), now + timeout)
        if self._lost is not None:
            raise NoReply(self._lost, Sent.NO, slot.deadline)
        if slot.deadline < self._soonest:
            self._wake_at(slot.deadline)
        if line.pending or not self._sent_at_once(slot, data, now):
            line.add(slot, data)
            if self._writer.sleeping is not None:
                self._writer.wake()
            elif len(line.unsent) == SHIPLOAD:
                self._writer.ship()
        try:
            return await trio.lowlevel.wait_task_rescheduled(slot.abort)
        except WRONG_SERVER as error:
            self.refused(error)
            raise

    @trio.lowlevel.enable_ki_protection
    async def call_many(self, commands: Sequence[bytes], timeout: float, *, atomic: bool) -> list[object]:
        """Send *commands* back to back, nobody else's in between, and wait for all replies.

        Error replies are values of the list.

        Args:
            atomic: Nothing runs before the last command (``EXEC``): decides what `NoReply.sent` says.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        now = self._now()
        slots = [Slot(None, now + timeout) for _ in commands]
        last = slots[-1]
        if self._lost is not None:
            raise NoReply(self._lost, Sent.NO, last.deadline)
        last.task = trio.lowlevel.current_task()
        self._wake_at(last.deadline)
        if not self._line.pending:
            self._since = now
        self._line.add_many(slots, commands)
        self._writer.wake()
        try:
            await trio.lowlevel.wait_task_rescheduled(last.abort)
        except NoReply as lost:
            first = slots[0].reply
            if not atomic and lost.sent is Sent.NO:
                lost.sent = first.sent if isinstance(first, NoReply) else Sent.YES
            raise
        except Exception as error:
            if error is not last.reply:
                raise
        replies = [slot.reply for slot in slots]
        for reply in replies:
            if isinstance(reply, WRONG_SERVER):
                self.refused(reply)
        return replies

    def refused(self, error: Exception) -> None:
        """This is the wrong server: expire, unless the link is so young that a new one would find the same.

        Only a read-only server lets a new link come up at all; without this rule every write would cut off
        those who read.
        """
        kept = isinstance(error, ReadOnlyError) and not self._must_be_master
        if not kept or self._now() >= self._born + self.limits.renew_after:
            self.retire(error)

    def tls_expiry(self) -> float | None:
        """When the server's certificate expires, in seconds since 1970; None without TLS."""
        return self._wire.tls_expiry() if isinstance(self._wire, StreamWire) else None

    @property
    def live(self) -> bool:
        """Whether it takes commands."""
        return self._lost is None

    @property
    def idle(self) -> bool:
        """Whether no reply is awaited."""
        return not self._line.pending

    @property
    def closed(self) -> bool:
        """Whether nothing more will come of it: not only that it takes no more commands."""
        return self._scope.cancel_called

    @trio.lowlevel.enable_ki_protection
    def retire(self, why: Exception) -> None:
        """Take no new commands; close once those under way are answered, at most `drain_time` later."""
        if self._lost is not None:
            return
        self._lost = why
        self._lost_event.set()
        if self._line.pending:
            self._retire_by = self._now() + self.limits.drain_time
            self._wake_at(self._retire_by)
        else:
            self.abort(why)

    # What the keeper of the connection uses.

    async def run(self) -> None:
        """Read, write and watch until the link is lost or closed. To be started once, in a nursery."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guard, self._writer.run)
                    nursery.start_soon(self._guard, self._watch)
                    await self._guard(self._read)
        finally:
            self.abort(ServerClosed("the link was stopped"))
            with trio.CancelScope(shield=True):  # Waits for nobody.
                await self._wire.aclose()
            self._closed.set()

    async def wait_lost(self) -> Exception:
        """Wait until the link takes no more commands; returns why."""
        await self._lost_event.wait()
        assert self._lost is not None
        return self._lost

    async def probe(self) -> None:
        """One round trip with a random word, which the server must echo.

        Left out while the line is headed by a command that may take longer than a probe; it has a deadline.
        """
        if self._line.busy_until() > self._now() + self.limits.reply_timeout:
            return
        await check_echo(self)
        if self._must_be_master:
            await check_role(self)

    async def wait_idle(self) -> None:
        """Wait until no call is in flight, here and beside it; see `SideLinks.wait_idle`."""
        if self.side is not None:
            await self.side.wait_idle()
        while self._line.pending:
            self._idle = trio.Event()
            await self._idle.wait()

    async def aclose(self) -> None:
        """Let replies under way come in, at most `drain_time`, then close. Cancelled, it closes at once."""
        why = ServerClosed("the link was closed")
        self.retire(why)
        try:
            await self._closed.wait()
        finally:
            self.abort(why)

    def describe(self) -> dict[str, int]:
        """For the tree: commands whose replies are awaited, and connections beside this one."""
        beside = {} if self.side is None else self.side.describe()
        return {"in_flight": len(self._line.pending), **beside}

    def _sent_at_once(self, slot: Slot, data: bytes, now: float) -> bool:
        """On an idle link the caller writes by itself, which saves a task switch; False if it has to queue.

        After a read that woke a crowd it queues instead: the others are about to send, one write serves all.
        """
        self._since = now
        if self._crowd > 1 or self._writer.sleeping is None:
            return False
        try:
            taken = self._wire.send_now(data)
        except OSError as error:
            self.abort(error)
            raise NoReply(error, Sent.NO, slot.deadline) from error
        if taken == len(data):
            self._line.pending.append(slot)
            return True
        self._line.add(slot, data[taken:])
        self._writer.wake()
        return True

    # Reading.

    async def _read(self) -> None:
        receive, parser, max_bytes = self._wire.receive, self._parser, self.limits.max_reply_bytes
        while data := await receive():
            self._since = self._now()
            parser.feed(data)
            self._hand_out()
            if parser.len() > max_bytes:
                raise ProtocolViolation(f"a reply of more than {max_bytes} bytes")
        raise ServerClosed("the server closed the connection")

    def _hand_out(self) -> None:
        """Give each complete reply to the oldest slot; push messages are no replies."""
        gets, pending = self._parser.gets, self._line.pending
        given, askers = 0, self._line.answerable()
        try:
            while (reply := gets(False)) is not INCOMPLETE:
                if type(reply) is hiredis.PushNotification:
                    self._push(reply)
                    continue
                if given == askers:
                    said = str(reply) if isinstance(reply, Exception) else f"a {type(reply).__name__}"
                    raise ProtocolViolation(f"the server sent what nobody asked for: {said}")
                given += 1
                pending.popleft().wake(reply)
        except (hiredis.HiredisError, TypeError, MemoryError) as error:  # What hiredis makes of bad bytes.
            raise ProtocolViolation(f"the server sent what cannot be read: {error}") from error
        self._crowd = given
        self._line.refill()
        self._writer.wake()
        if not pending and self._idle is not None:
            self._idle.set()
        if not pending and self._lost is not None:
            self.abort(self._lost)

    def _push(self, message: list[object]) -> None:
        self.pushes += 1
        if self._on_push is not None:
            self._on_push(message)

    # Watching and ending.

    @trio.lowlevel.enable_ki_protection
    async def _guard(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except Exception as error:  # noqa: BLE001 - whatever breaks the link is the reason why it is lost.
            self.abort(error)

    async def _watch(self) -> None:
        """Sleep until the soonest deadline of all calls: one alarm, not one per call."""
        while True:
            with trio.CancelScope(deadline=self._soonest) as self._alarm:
                await trio.sleep_forever()
            self._expire(self._now())

    def _wake_at(self, moment: float) -> None:
        self._soonest = min(self._soonest, moment)
        self._alarm.deadline = self._soonest

    def _expire(self, now: float) -> None:
        """Free the callers whose time is over; close the link if its oldest reply is overdue."""
        if now >= self._retire_by:
            self.abort(ReplyOverdue("replies did not come while the link was being closed"))
        elif now >= self._line.overdue_at(self._since):
            self.abort(ReplyOverdue(f"no reply and no byte for {now - self._since:.3g} s"))
        else:
            self._line.expire(now)
            self._soonest = math.inf
            soonest = min(self._line.next_deadline(), self._line.overdue_at(self._since), self._retire_by)
            self._wake_at(max(soonest, now + 0.01))  # Not once for each of thousands of late calls.

    @trio.lowlevel.enable_ki_protection
    def abort(self, why: Exception) -> None:
        """End the link: wake every caller with what is known of its command, and write nothing more."""
        if not self._scope.cancel_called:
            self._scope.cancel()
            self._lost = self._lost or why
            self._lost_event.set()
            self._line.fail(why)
            if self._idle is not None:
                self._idle.set()
