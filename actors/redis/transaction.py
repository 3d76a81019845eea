"""Read, decide, then write only if nobody has changed what was read: WATCH, MULTI and EXEC on one connection."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from redis.exceptions import ReadOnlyError, ResponseError

from resprout.actors.redis.catalogue import Catalogue
from resprout.actors.redis.commands import CommandRefused, block_seconds
from resprout.actors.redis.known import empty_reply
from resprout.actors.redis.link import WRONG_SERVER, RedisLink
from resprout.actors.redis.pipeline import RedisPipeline
from resprout.actors.redis.policy import Verdict, judge
from resprout.actors.redis.resp import pack
from resprout.actors.redis.side import NoSideLink
from resprout.actors.redis.slot import NoReply, ServerClosed
from resprout.runtime.errors import (
    DeadlineExceeded,
    DegradedReadOnly,
    OutcomeUnknown,
    ServiceError,
    Unavailable,
)
from resprout.runtime.telling import sentence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from resprout.actors.redis.courier import Courier
    from resprout.actors.redis.known import Vocabulary
    from resprout.actors.redis.policy import CallPolicy

T = TypeVar("T")


class Aboard:
    """Delivers over one link of its own and never over another: what WATCH knows is lost with it.

    Attributes:
        policy: The client's wishes.
        link: The link.
    """

    def __init__(self, courier: Courier, link: RedisLink, deadline: float) -> None:
        self.policy: CallPolicy = courier.policy
        self.link = link
        self._service, self._deadline, self._courier = courier.service, deadline, courier

    async def deliver(
        self, send: Callable[[RedisLink, float], Awaitable[T]], *, timeout: float, reads: bool
    ) -> T:
        """Run *send* once, within *timeout* and the deadline of the whole transaction."""
        try:
            return await send(self.link, max(0.0, min(timeout, self._deadline - trio.current_time())))
        except NoReply as lost:
            repeatable = reads or self.policy.idempotent
            raise self._given_up(
                judge(lost.sent, repeatable=repeatable, expired=lost.expired), lost
            ) from lost
        except WRONG_SERVER as error:
            kind = DegradedReadOnly if isinstance(error, ReadOnlyError) else Unavailable
            raise kind(self._service, str(error), cause=error) from error

    async def deliver_aside(
        self, send: Callable[[RedisLink, float], Awaitable[T]], *, timeout: float, reads: bool
    ) -> T:
        """The same: the link is its own already."""
        return await self.deliver(send, timeout=timeout, reads=reads)

    def answered(self, error: Exception) -> None:
        """As for `Courier`."""
        self._courier.answered(error)

    def _given_up(self, verdict: Verdict, lost: NoReply) -> ServiceError:
        why = sentence(lost.why)
        match verdict:
            case Verdict.UNKNOWN:
                message = f"no reply; what was sent may have run or not ({why})"
                return OutcomeUnknown(self._service, message, cause=lost.why, sent=lost.sent)
            case Verdict.TOO_LATE:
                late = DeadlineExceeded(
                    self._service, f"no reply within the deadline ({why})", cause=lost.why
                )
                late.phase = lost.phase
                return late
            case Verdict.AGAIN:
                message = f"the connection of the transaction was lost; nothing was changed ({why})"
                return Unavailable(self._service, message, cause=lost.why)


class RedisTransaction(Catalogue):
    """Made by `RedisClient.transaction`: its commands run at once, those of `queue` when `execute` is called.

    Attributes:
        queue: Commands are added without ``await``; they run together, or not at all.
    """

    def __init__(self, aboard: Aboard, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        self._aboard, self._over = aboard, False
        self.queue = RedisPipeline(aboard, vocabulary, transaction=True)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command now, over the connection of the transaction."""
        known = self._vocabulary.get(args[0]) or self._vocabulary.learn(args)
        self._check_open(known.command.name)
        if block_seconds(known.command, args) is not None:
            raise CommandRefused(known.command.name, "it may wait on the server; call it outside")
        data = known.packed(args)
        try:
            reply = await self._aboard.deliver(
                lambda link, seconds: link.call(data, seconds),
                timeout=self._aboard.policy.timeout,
                reads=known.command.repeatable,
            )
        except ResponseError as error:
            self._aboard.answered(error)
            return empty_reply(error, options)
        return self._vocabulary.shaped(known, reply, options)

    async def watch(self, *keys: str | bytes) -> None:  # type: ignore[override]  # redis-py's only warns.
        """Watch more *keys*, from now on."""
        self._check_open("WATCH")
        await self._aboard.deliver(
            lambda link, seconds: link.call(pack(("WATCH", *keys)), seconds),
            timeout=self._aboard.policy.timeout,
            reads=True,
        )

    async def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """Run what was queued, if no watched key has changed, and return the results. Ends the transaction.

        With nothing queued nothing is sent.

        Args:
            raise_on_error: As for `RedisPipeline.execute`.

        Raises:
            redis.exceptions.WatchError: A watched key was changed; nothing ran. Begin again.
            OutcomeUnknown: The reply never came. All of it has run, or nothing.
            ServiceError: As for the commands of `RedisClient`.
        """
        self._check_open("EXEC")
        self._over = len(self.queue) > 0
        return await self.queue.execute(raise_on_error=raise_on_error)

    async def end(self) -> None:
        """Leave the connection as it was; it watches nothing any more, or is closed."""
        link = self._aboard.link
        if not self._over and link.live and link.idle:
            self._over = True
            try:
                await link.call(pack(("UNWATCH",)), link.limits.reply_timeout)
            except (NoReply, ResponseError, *WRONG_SERVER) as error:
                link.abort(error)
        self._over = True

    def _check_open(self, name: str) -> None:
        if self._over:
            raise CommandRefused(name, "this transaction is over; begin another")


@asynccontextmanager
async def begin(
    courier: Courier, vocabulary: Vocabulary, keys: tuple[str | bytes, ...], deadline: float
) -> AsyncIterator[RedisTransaction]:
    """A transaction that watches *keys*, on a link of its own."""
    async with AsyncExitStack() as holding:

        async def watch(main: RedisLink, seconds: float) -> RedisLink:
            if main.side is None:
                raise NoSideLink("this connection was made without others beside it")
            async with AsyncExitStack() as attempt:
                until = trio.current_time() + seconds
                link = await attempt.enter_async_context(main.side.lend(until))
                if keys:
                    await link.call(pack(("WATCH", *keys)), max(0.0, until - trio.current_time()))
                holding.push_async_exit(attempt.pop_all())
            return link

        timeout = min(courier.policy.timeout, deadline - trio.current_time())
        link = await courier.deliver(watch, timeout=timeout, reads=True)
        transaction = RedisTransaction(Aboard(courier, link, deadline), vocabulary)
        try:
            yield transaction
        except Exception:
            with trio.move_on_after(1, shield=True):
                await transaction.end()
            raise
        except BaseException:
            link.abort(ServerClosed("the caller of a transaction went away"))
            raise
        else:
            await transaction.end()
