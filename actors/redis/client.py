"""redis-py's commands over a connection that is kept alive: ``await redis.get("k")``.

A command runs in its caller's task and goes straight to the link; the connection's actor is not in between.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import attrs
import trio
from redis.exceptions import ResponseError, WatchError

from resprout.actors.connection.on_down import FAIL_FAST, OnDown
from resprout.actors.redis.catalogue import Catalogue
from resprout.actors.redis.commands import block_seconds, blocking_for
from resprout.actors.redis.courier import Courier
from resprout.actors.redis.known import Known, Vocabulary, empty_reply
from resprout.actors.redis.link import WRONG_SERVER
from resprout.actors.redis.pipeline import RedisPipeline
from resprout.actors.redis.policy import CallPolicy
from resprout.actors.redis.pubsub import Inbox, Subscription
from resprout.actors.redis.resp import pack
from resprout.actors.redis.side import Use
from resprout.actors.redis.slot import NoReply
from resprout.actors.redis.transaction import RedisTransaction, begin
from resprout.runtime.errors import DeadlineExceeded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from resprout.actors.connection.gate import Gate
    from resprout.actors.redis.actor import RedisConnection
    from resprout.actors.redis.link import RedisLink
    from resprout.runtime.ref import Address


class RedisClient(Catalogue):
    """All commands of redis-py's asyncio client, with its types and reply shapes, on trio.

    Args:
        connection: The name or ref of a `RedisConnection`, or the gate of a connection kept by other means.
        timeout: Seconds a call may take in all.
        on_down: While there is no connection, raise `Unavailable` at once (FAIL_FAST) or WAIT for it.
        idempotent: Repeat commands whose reply was lost. Without it only commands that read are repeated.
        decode_responses: Give strings as `str`, not `bytes`.

    Every call may raise:
        Unavailable: there is no connection; nothing was done.
        OutcomeUnknown: the command was written, its reply never came; it may have run or not.
        DeadlineExceeded: no reply in time; the command was not sent, or is safe to repeat.
        Draining: the connection is being stopped.
        PoolExhausted: for commands that wait on the server: all connections for such are in use.
        CommandRefused: a command that this connection cannot serve.
        redis.exceptions.ResponseError: Redis answered with an error.
    """

    def __init__(
        self,
        connection: Address[RedisConnection] | Gate[RedisLink],
        *,
        timeout: float = 5.0,
        on_down: OnDown = FAIL_FAST,
        idempotent: bool = False,
        decode_responses: bool = False,
    ) -> None:
        super().__init__(Vocabulary(decode=decode_responses))
        self._courier = Courier(connection, CallPolicy(timeout, on_down, idempotent))

    def using(
        self,
        *,
        timeout: float | None = None,
        on_down: OnDown | None = None,
        idempotent: bool | None = None,
    ) -> RedisClient:
        """The same client with other rules, for instance ``redis.using(idempotent=True).set("k", 1)``."""
        policy = self._courier.policy
        policy = attrs.evolve(
            policy,
            timeout=policy.timeout if timeout is None else timeout,
            on_down=on_down or policy.on_down,
            idempotent=policy.idempotent if idempotent is None else idempotent,
        )
        other = copy.copy(self)
        other._courier = Courier(self._courier.connection, policy)
        return other

    def pipeline(self, *, transaction: bool = True) -> RedisPipeline:
        """Collect commands and send them together; with *transaction* they run as one, or not at all."""
        return RedisPipeline(self._courier, self._vocabulary, transaction=transaction)

    def transaction(self, *watches: str | bytes) -> AbstractAsyncContextManager[RedisTransaction]:
        """Read, decide, then write only if no key of *watches* has changed meanwhile.

        ``async with redis.transaction("n") as t: n = await t.get("n"); t.queue.set("n", f(n)); await t.execute()``

        It has a connection of its own. Commands of ``t`` run at once, those of ``t.queue`` at `execute`, which
        raises `redis.exceptions.WatchError` if a key was changed. Without `execute` nothing queued is run.
        """
        return begin(self._courier, self._vocabulary, watches, math.inf)

    async def transact(
        self, decide: Callable[[RedisTransaction], Awaitable[object]], *watches: str | bytes
    ) -> list[Any]:
        """Run *decide* in a `transaction`, then what it has queued; again while a watched key was changed.

        Args:
            decide: Reads with ``await t.get(...)``, queues with ``t.queue.set(...)``. It may run several times.
            watches: Keys that must not change between its reads and its writes.

        Returns:
            The results of what was queued.

        Raises:
            DeadlineExceeded: The keys changed again and again until the client's timeout; nothing ran.
            OutcomeUnknown: The reply of ``EXEC`` was lost. All of it has run, or nothing; it is not repeated.
            ServiceError: As for commands.
        """
        policy, service = self._courier.policy, self._courier.service
        deadline = trio.current_time() + policy.timeout
        error: BaseException | None = None
        while True:
            await trio.lowlevel.checkpoint()
            try:
                async with begin(self._courier, self._vocabulary, watches, deadline) as transaction:
                    with trio.move_on_at(deadline) as time:
                        await decide(transaction)
                    if not time.cancelled_caught:
                        return await transaction.execute()
            except WatchError as conflict:
                error = conflict
            except Unavailable as lost:
                if policy.on_down is not OnDown.WAIT:
                    raise
                error = lost
            except DeadlineExceeded as late:
                if trio.current_time() < deadline:
                    raise  # Of something else that *decide* did.
                error = error or late.cause or late
            if trio.current_time() >= deadline:
                raise DeadlineExceeded(service, f"not done within {policy.timeout:g} s", cause=error)

    def hurried(self, seconds: float) -> RedisClient:
        return self.using(timeout=max(0.001, self._courier.policy.timeout - seconds))

    def subscribe(
        self,
        *channels: str,
        patterns: Iterable[str] = (),
        max_messages: int = 1_000,
        max_bytes: int = 8 * 1024 * 1024,
        heartbeat: float = 15.0,
    ) -> Subscription:
        """Messages of *channels*: ``async with redis.subscribe("news") as news: async for item in news: …``.

        Items are `Message`, and `MaybeMissed` where messages may be missing. The block begins when the server
        has confirmed. After a loss the subscription is made again, for ever.

        Args:
            channels: At least one, if there are no patterns.
            patterns: Such as ``user.*``.
            max_messages: How many are kept for a slow reader; the oldest are dropped, and it is told.
            max_bytes: Size of what is kept, with the same rule.
            heartbeat: Seconds between two probes of the connection.

        Raises:
            ValueError: Nothing to subscribe to, or a bound that is not positive.
            ServiceError: When the block begins; as for commands.
            redis.exceptions.ResponseError: The server refuses, for instance by its ACL.
        """
        patterns = tuple(patterns)
        if not channels and not patterns:
            raise ValueError("give at least one channel or pattern to subscribe to")
        for name, value in (
            ("max_messages", max_messages),
            ("max_bytes", max_bytes),
            ("heartbeat", heartbeat),
        ):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {value!r}")
        inbox, decode = Inbox(max_messages, max_bytes), self._vocabulary.decode
        return Subscription(
            self._courier, channels, patterns, decode=decode, inbox=inbox, heartbeat=heartbeat
        )

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run any command: ``await redis.execute_command("MYMODULE.DO", "key")``."""
        vocabulary, courier = self._vocabulary, self._courier
        known = vocabulary.get(args[0]) or vocabulary.learn(args)
        if known.command.waits and (seconds := block_seconds(known.command, args)) is not None:
            return await self._wait_on_server(known, args, options, seconds)
        data = pack(args) if known.words is None else known.packed(args)
        try:
            if (gate := courier.gate) is not None and (link := gate.live) is not None:
                try:
                    reply = await link.call(data, courier.policy.timeout)
                except (NoReply, *WRONG_SERVER) as error:
                    reply = await self._deliver(known, data, failed=(link, error))
                if not link.proven:
                    courier.succeeded(link)
            else:
                reply = await self._deliver(known, data)
        except ResponseError as error:
            courier.answered(error)
            return empty_reply(error, options)
        return reply if known.plain else vocabulary.shaped(known, reply, options)

    async def _deliver(
        self, known: Known, data: bytes, failed: tuple[RedisLink, Exception] | None = None
    ) -> object:
        """The slow way: there is no link, or it just failed."""
        return await self._courier.deliver(
            lambda link, seconds: link.call(data, seconds),
            timeout=self._courier.policy.timeout,
            reads=known.command.repeatable,
            failed=failed,
        )

    async def _wait_on_server(
        self, known: Known, args: tuple[Any, ...], options: dict[str, Any], seconds: float
    ) -> Any:
        """Run a command that the server may keep for *seconds*, on a link beside the shared one."""
        known.command.check_wait(seconds)
        until = math.inf

        async def send(link: RedisLink, left: float) -> object:
            nonlocal until
            now = trio.current_time()
            # After a rotation it is sent again, over the new link, for the rest of its time.
            again = until < math.inf
            data = known.packed(blocking_for(until - now, known.command, args) if again else args)
            until = min(until, now + seconds)
            return await link.call(data, left)

        try:
            reply = await self._courier.deliver_aside(
                send,
                timeout=self._courier.policy.timeout + seconds,
                reads=known.command.repeatable,
                use=Use.WAIT,
            )
        except ResponseError as error:
            self._courier.answered(error)
            return empty_reply(error, options)
        return self._vocabulary.shaped(known, reply, options)
