"""Messages in Redis streams: they survive this process, and Redis too if it writes to disk.

The store holds no state of its own, so a restart has nothing to reload, and every step is one Lua script that
may be repeated. That is what makes an unknown outcome harmless: `append` finds the id of a message it already
stored and returns the sequence it got. Concurrent callers share the round trip, because the client pipelines.
"""

import re
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

import attrs
import msgspec
import trio

from resprout.actors.websocket import redis_scripts as scripts
from resprout.actors.websocket.errors import QueueFull, StreamChanged
from resprout.actors.websocket.law import Counts
from resprout.actors.websocket.redis_replies import (
    Argument,
    as_arguments,
    as_counts,
    as_head,
    as_history,
    as_int,
    as_letter,
    as_list,
    as_ms,
    as_stored,
    as_text,
)
from resprout.actors.websocket.redis_scripts import Script
from resprout.actors.websocket.store import (
    MESSAGE_OVERHEAD_BYTES,
    DeadLetter,
    Failure,
    Head,
    NewMessage,
    Stored,
)
from resprout.runtime.errors import OutcomeUnknown, ServiceError, Unavailable


class RedisCommands(Protocol):
    """What the store needs of a Redis client: redis-py's names and meanings, trio's waiting."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Argument) -> Awaitable[object]: ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Argument) -> Awaitable[object]: ...

    def config_get(self, pattern: str) -> Awaitable[Mapping[str | None, str | None]]: ...


@attrs.frozen
class RedisStore:
    """Keeps each client's messages in a Redis stream.

    Attributes:
        redis: A client such as `RedisClient`; its calls raise `ServiceError` while Redis is away.
        queue: Names the keys, so that several queues can share one Redis.
        max_stream_messages: What may wait for one client.
        max_messages: What may wait for all clients together.
        patience: Seconds to go on trying after a step whose outcome is unknown, before the caller is told so.
    """

    redis: RedisCommands
    queue: str = "resprout"
    max_stream_messages: int = 10_000
    max_messages: int = 1_000_000
    patience: float = 5.0
    name: str = "redis"

    async def weaknesses(self) -> tuple[str, ...]:
        from redis.exceptions import ResponseError  # Here, so that the extra stays optional.

        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        try:
            settings = [await self.redis.config_get(name) for name in wanted]
        except ResponseError as error:  # Where Redis is rented, CONFIG often is not for its users.
            return (f"the settings of Redis cannot be seen ({error}); ask who runs it for {wanted}",)
        found = {as_text(key): as_text(value) for setting in settings for key, value in setting.items()}
        return tuple(
            f"Redis has {name}={found.get(name)}, so it may lose accepted messages; set {name}={value}"
            for name, value in wanted.items()
            if found.get(name) != value
            and not (name == "maxmemory-policy" and "volatile" in found.get(name, ""))
        )

    async def open(self, stream: str) -> Head:
        return as_head(await self._run(scripts.OPEN, self._keys(stream, "ms"), new_epoch()))

    async def append(self, stream: str, messages: Sequence[NewMessage]) -> tuple[int, ...]:
        keys = (*self._keys(stream, "ms"), *self._keys(None, "tne"))
        limits = (self._id_key(stream), self.max_stream_messages, self.max_messages)
        rows = [argument for message in messages for argument in as_arguments(message)]
        answer = await self._run(scripts.APPEND, keys, new_epoch(), stream, *limits, *rows)
        match answer:
            case -1:
                raise QueueFull(self.name, stream=stream, limit=self.max_stream_messages, unit="messages")
            case -2:
                raise QueueFull(self.name, stream=None, limit=self.max_messages, unit="messages")
            case _:
                return tuple(as_int(seq) for seq in as_list(answer))

    async def read(self, stream: str, epoch: str, after: int, *, count: int, size: int) -> tuple[Stored, ...]:
        arguments = (epoch, after, count, size, MESSAGE_OVERHEAD_BYTES)
        answer = await self._run_in_epoch(scripts.READ, stream, "ms", *arguments)
        return tuple(as_stored(row) for row in as_list(answer))

    async def ack(self, stream: str, epoch: str, through: int) -> int:
        return as_int(await self._run_in_epoch(scripts.ACK, stream, "mstf", epoch, through))

    async def fail(self, stream: str, epoch: str, seq: int, failure: Failure) -> tuple[Failure, ...]:
        line = msgspec.json.encode((failure.at, failure.reason)) + b"\n"
        return as_history(await self._run_in_epoch(scripts.FAIL, stream, "msf", epoch, seq, line))

    async def bury(self, stream: str, epoch: str, seq: int, reason: str, at: float) -> bool:
        answer = await self._run_in_epoch(scripts.BURY, stream, "mstfd", epoch, seq, reason, repr(at))
        return as_int(answer) == 1

    async def expire(self, now: float) -> tuple[str, ...]:
        keys, found, due = self._keys(None, "te"), dict[str, None](), EXPIRE_AT_ONCE
        while due >= EXPIRE_AT_ONCE:  # In steps, so that Redis never stands still for long.
            answer = await self._run(scripts.EXPIRE, keys, self._prefix, as_ms(now), EXPIRE_AT_ONCE)
            count, *touched = as_list(answer)
            due = as_int(count)
            found.update((as_text(stream), None) for stream in touched)
        return tuple(found)

    async def dead_letters(self, stream: str, limit: int = 100) -> tuple[DeadLetter, ...]:
        answer = await self._run(scripts.LETTERS, self._keys(stream, "d"), limit)
        return tuple(as_letter(stream, row) for row in as_list(answer))

    async def redrive(self, stream: str, ids: Sequence[str] | None = None) -> int:
        if ids is not None and not ids:
            await trio.lowlevel.checkpoint()
            return 0
        return as_int(await self._run(scripts.REDRIVE, self._keys(stream, "mstd"), *(ids or ())))

    async def renew_epoch(self, stream: str, epoch: str, at_least: int) -> Head:
        keys = self._keys(stream, "ms")
        return as_head(await self._run(scripts.RENEW, keys, epoch, new_epoch(), at_least))

    async def counts(self, stream: str | None = None) -> Counts:
        if stream is None:
            return as_counts(await self._run(scripts.TOTALS, self._keys(None, "t")))
        return as_counts(await self._run(scripts.BOOKS, self._keys(stream, "ms")))

    async def audit(self) -> Counts:
        sums, cursor = [0] * 6, "0"
        while True:
            page = as_list(await self._run(scripts.AUDIT, self._keys(None, "n"), self._prefix, cursor))
            sums = [total + as_int(more) for total, more in zip(sums, page[1:], strict=True)]
            cursor = as_text(page[0])
            if cursor == "0":
                return as_counts(sums)

    @property
    def _prefix(self) -> str:
        return f"{{{self.queue}}}:"

    def _key(self, kind: str, stream: str | None) -> str:
        return (
            f"{self._prefix}{kind}" if stream is None or kind in SHARED else f"{self._prefix}{kind}:{stream}"
        )

    def _id_key(self, stream: str) -> str:
        # With the length in front no two pairs of stream and id can make the same key.
        return f"{self._prefix}i:{len(stream)}:{stream}:"

    def _keys(self, stream: str | None, kinds: str) -> tuple[str, ...]:
        return tuple(self._key(kind, stream) for kind in kinds)

    async def _run_in_epoch(
        self, script: Script, stream: str, kinds: str, epoch: str, *rest: Argument
    ) -> object:
        answer = await self._run(script, self._keys(stream, kinds), epoch, *rest)
        if answer == -1:
            raise StreamChanged(stream, epoch)
        return answer

    async def _run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> object:
        """Run *script*; once its outcome is unknown, run it again until it is known or patience ends."""
        until = trio.current_time() + self.patience
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                return await self._run_once(script, keys, arguments)
            except OutcomeUnknown as error:
                unknown, pause = error, SHORTEST_PAUSE
            except ServiceError as error:
                if unknown is None or isinstance(error, QueueFull):
                    raise
                pause = max(SHORTEST_PAUSE, error.retry_after or 0.0)
            if trio.current_time() + pause >= until:
                raise unknown
            await trio.sleep(pause)

    async def _run_once(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> object:
        from redis.exceptions import (  # Here, so that the extra stays optional.
            NoScriptError,
            OutOfMemoryError,
            ResponseError,
        )

        try:
            try:
                return await self.redis.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await self.redis.eval(script.text, len(keys), *keys, *arguments)
        except OutOfMemoryError as error:
            raise QueueFull(self.name, stream=None, limit=0, unit="bytes of Redis's maxmemory") from error
        except ResponseError as error:
            if REFUSALS.search(str(error)) is None:
                raise
            raise Unavailable(
                self.name, f"Redis refuses: {error}", state="refusing", retry_after=1.0, cause=error
            ) from error


SHARED = "tne"
"""Kinds of keys that belong to the queue, not to one stream."""

REFUSALS = re.compile(r"\b(BUSY|MISCONF|NOREPLICAS)\b")
"""Replies that speak of a slow script, a full disk, replicas that are away: none is our fault, and each ends."""

EXPIRE_AT_ONCE = 1_000
SHORTEST_PAUSE = 0.05


def new_epoch() -> str:
    """A word no other epoch has."""
    return secrets.token_hex(8)
