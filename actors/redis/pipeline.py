"""Commands collected first and sent together: one trip for all, and with MULTI and EXEC one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from redis.exceptions import ExecAbortError, WatchError

from resprout.actors.redis.catalogue import Catalogue
from resprout.actors.redis.commands import CommandRefused, block_seconds
from resprout.actors.redis.link import WRONG_SERVER, RedisLink
from resprout.actors.redis.resp import pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resprout.actors.redis.known import Known, Vocabulary
    from resprout.actors.redis.policy import CallPolicy

T = TypeVar("T")


class Delivers(Protocol):
    """Brings what a pipeline has collected to the server; see `Courier`."""

    policy: CallPolicy

    async def deliver(
        self, send: Callable[[RedisLink, float], Awaitable[T]], *, timeout: float, reads: bool
    ) -> T: ...
    async def deliver_aside(
        self, send: Callable[[RedisLink, float], Awaitable[T]], *, timeout: float, reads: bool
    ) -> T: ...
    def answered(self, error: Exception) -> None: ...


Entry: TypeAlias = "tuple[Known, bytes, dict[str, Any]]"

MULTI, EXEC = pack(("MULTI",)), pack(("EXEC",))


class RedisPipeline(Catalogue):
    """Collects commands; `execute` sends them and returns their results in order.

    Commands are called without ``await``: ``pipe.incr("n"); pipe.get("k"); n, value = await pipe.execute()``.
    """

    collects = True

    def __init__(self, courier: Delivers, vocabulary: Vocabulary, *, transaction: bool) -> None:
        super().__init__(vocabulary)
        self._courier, self._transaction = courier, transaction
        self._stack: list[Entry] = []
        self._confirms: list[Entry] = []
        self._waits_for = 0.0

    def __len__(self) -> int:
        return len(self._stack) + len(self._confirms)

    def execute_command(self, *args: Any, **options: Any) -> RedisPipeline:  # Sync: nothing is sent yet.
        """Add a command. ``WAIT`` and ``WAITAOF`` come last: they wait until the others are safe."""
        known = self._vocabulary.get(args[0]) or self._vocabulary.learn(args)
        seconds, command = block_seconds(known.command, args), known.command
        if seconds is not None and not command.confirms:
            raise CommandRefused(command.name, "it may wait on the server; call it by itself")
        if self._confirms and not command.confirms:
            raise CommandRefused(command.name, "it is added after WAIT, which must come last in a pipeline")
        stack = self._stack
        if seconds is not None:
            command.check_wait(seconds, after_writes=bool(self._stack))
            stack, self._waits_for = self._confirms, self._waits_for + seconds
        stack.append((known, known.packed(args), options))
        return self

    async def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """Send all collected commands and return their results; the pipeline is empty afterwards.

        Args:
            raise_on_error: Raise the first error among the results; else errors are values of the list.

        Raises:
            OutcomeUnknown: The replies never came. A transaction ran as a whole or not at all; without one,
                the first commands may have run and the others not.
            ServiceError: As for the commands of `RedisClient`.
            redis.exceptions.ResponseError: A command failed, or the transaction was refused and nothing ran.
        """
        stack, confirms, waits_for = self._stack, self._confirms, self._waits_for
        self._stack, self._confirms, self._waits_for = [], [], 0.0
        if not stack:
            return []
        body = [data for _, data, _ in stack]
        if self._transaction:
            body = [MULTI, *body, EXEC]
        replies = await self._deliver(body, stack, confirms, waits_for)
        results = replies[: len(body)]
        if self._transaction:
            results = results_of_exec(results)
        results += replies[len(body) :]
        return [
            self._result(number, reply, known, options, raise_on_error)
            for number, (reply, (known, _, options)) in enumerate(
                zip(results, stack + confirms, strict=True), start=1
            )
        ]

    async def _deliver(
        self, body: list[bytes], stack: list[Entry], confirms: list[Entry], waits_for: float
    ) -> list[object]:
        """All replies. What waits on the server goes beside the shared link, with the writes it is about."""
        courier, commands = self._courier, body + [data for _, data, _ in confirms]
        return await (courier.deliver_aside if confirms else courier.deliver)(
            lambda link, seconds: self._send(link, commands, len(body), seconds),
            timeout=courier.policy.timeout + waits_for,
            reads=all(known.command.repeatable for known, _, _ in stack + confirms),
        )

    async def _send(self, link: RedisLink, commands: list[bytes], size: int, seconds: float) -> list[object]:
        """All replies; raises the server's refusal if nothing ran because of it. The first *size* are the body."""
        # With a WAIT behind EXEC the last command says nothing of whether the transaction was sent.
        atomic = self._transaction and size == len(commands)
        replies = await link.call_many(commands, seconds, atomic=atomic)
        body = replies[:size]
        refusals = [reply for reply in body if isinstance(reply, WRONG_SERVER)]
        aborted = self._transaction and isinstance(body[-1], (ExecAbortError, *WRONG_SERVER))
        if refusals and (aborted or len(refusals) == len(body)):
            raise refusals[0]
        return replies

    def _result(
        self, number: int, reply: object, known: Known, options: dict[str, Any], raise_on_error: bool
    ) -> Any:
        if isinstance(reply, Exception):
            self._courier.answered(reply)
            reply.add_note(f"command {number} of the pipeline: {known.command.name}")
            if raise_on_error:
                raise reply
            return reply
        return self._vocabulary.shaped(known, reply, options)


def results_of_exec(replies: list[object]) -> list[Any]:
    """The results of a transaction; raises why it was refused."""
    *queued, results = replies
    if isinstance(results, Exception):
        errors = (reply for reply in queued if isinstance(reply, Exception))
        raise next(errors, results)
    if results is None:
        raise WatchError("a watched key was changed; nothing ran")
    assert isinstance(results, list), f"EXEC answered {results!r}"
    return results
