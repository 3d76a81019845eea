"""One piece of work as an actor: does it, and ends."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs

from resprout.runtime import Actor, ActorError, Crashed, ExitReason, ReplyError
from resprout.runtime.telling import sentence
from resprout.supervisors.spec import ChildSpec

Work: TypeAlias = Callable[[], Awaitable[object]]


class TaskFailed(ActorError):
    """The task at *actor* raised *cause*. Nobody else was harmed, and it is not tried again."""

    def __init__(self, actor: str, cause: BaseException) -> None:
        super().__init__(actor, f"{actor} failed: {sentence(cause)}")
        self.cause = cause


class TaskStopped(ActorError):
    """The task at *actor* was stopped before it had finished, because of *reason*; part of it may be done."""

    def __init__(self, actor: str, reason: ExitReason) -> None:
        super().__init__(actor, f"{actor} was stopped before it had finished: {reason}")
        self.reason = reason


class Job(Actor):
    """Does *work*, once, when it is told to."""

    def __init__(self, work: Work) -> None:
        self._work: Work | None = work

    async def answer(self) -> object:
        """Do it for a caller who waits for the result."""
        return await self._done()

    async def perform(self) -> None:
        """Do it for nobody who waits: an error that would be an answer is a failure as well."""
        try:
            await self._done()
        except ReplyError as error:
            raise TaskFailed(self.context.path, error) from error

    async def _done(self) -> object:
        work, self._work = self._work, None  # Its arguments live no longer than they are needed.
        if work is None:
            raise ReplyError(f"{self.context.path} is at work already, and does it once")
        self.context.stop()
        result = work()
        if not inspect.isawaitable(result):
            made = getattr(work, "func", work)
            raise TypeError(f"{made!r} is no async function; use trio.to_thread.run_sync for blocking code")
        return await result


@attrs.frozen(kw_only=True)
class JobSpec(ChildSpec):
    """Recipe of a job. The failure of an *awaited* one is raised in its caller, and no news to others."""

    awaited: bool = False

    def expects(self, reason: ExitReason, *, ordered: bool) -> bool:
        """See `Recipe.expects`."""
        if self.awaited and isinstance(reason, Crashed):
            return isinstance(reason.error, Exception)
        return super().expects(reason, ordered=ordered)
