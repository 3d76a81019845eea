"""Commands collected first and sent together: one trip for all, and with MULTI and EXEC one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import ExecAbortError

from resprout.actors.redis.catalogue import Catalogue
from resprout.actors.redis.commands import CommandRefused, block_seconds
from resprout.actors.redis.link import WRONG_SERVER, RedisLink
from resprout.actors.redis.resp import pack

if TYPE_CHECKING:
    from resprout.actors.redis.courier import Courier
    from resprout.actors.redis.known import Known, Vocabulary

MULTI, EXEC = pack(("MULTI",)), pack(("EXEC",))


class RedisPipeline(Catalogue):
    """Collects commands; `execute` sends them and returns their results in order.

    Commands are called without ``await``: ``pipe.incr("n"); pipe.get("k"); n, value = await pipe.execute()``.
    """

    def __init__(self, courier: Courier, vocabulary: Vocabulary, *, transaction: bool) -> None:
        super().__init__(vocabulary)
        self._courier, self._transaction = courier, transaction
        self._stack: list[tuple[Known, bytes, dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._stack)

    def execute_command(self, *args: Any, **options: Any) -> RedisPipeline:  # Sync: nothing is sent yet.
        """Add a command."""
        known = self._vocabulary.get(args[0]) or self._vocabulary.learn(args)
        if block_seconds(known.command, args) is not None:
            raise CommandRefused(known.command.name, "it may wait on the server; a pipeline never waits")
        self._stack.append((known, known.packed(args), options))
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
        stack, self._stack = self._stack, []
        if not stack:
            return []
        commands = [data for _, data, _ in stack]
        if self._transaction:
            commands = [MULTI, *commands, EXEC]
        replies = await self._courier.deliver(
            lambda link, seconds: self._send(link, commands, seconds),
            timeout=self._courier.policy.timeout,
            reads=all(known.command.repeatable for known, _, _ in stack),
        )
        if self._transaction:
            replies = _results_of_exec(replies)
        return [
            self._result(number, reply, known, options, raise_on_error)
            for number, (reply, (known, _, options)) in enumerate(zip(replies, stack, strict=True), start=1)
        ]

    async def _send(self, link: RedisLink, commands: list[bytes], seconds: float) -> list[object]:
        """All replies; raises the server's refusal if nothing ran because of it."""
        replies = await link.call_many(commands, seconds, atomic=self._transaction)
        refusals = [reply for reply in replies if isinstance(reply, WRONG_SERVER)]
        aborted = self._transaction and isinstance(replies[-1], (ExecAbortError, *WRONG_SERVER))
        if refusals and (aborted or len(refusals) == len(replies)):
            raise refusals[0]
        return replies

    def _result(
        self, number: int, reply: object, known: Known, options: dict[str, Any], raise_on_error: bool
    ) -> Any:
        if isinstance(reply, Exception):
            reply.add_note(f"command {number} of the pipeline: {known.command.name}")
            if raise_on_error:
                raise reply
            return reply
        return self._vocabulary.shaped(known, reply, options)


def _results_of_exec(replies: list[object]) -> list[Any]:
    """The results of a transaction; raises why it was refused."""
    *queued, results = replies
    if isinstance(results, Exception):
        errors = (reply for reply in queued if isinstance(reply, Exception))
        raise next(errors, results)
    assert isinstance(results, list), f"EXEC answered {results!r}"
    return results
