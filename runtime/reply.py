"""Answers that are given later: the method returns, other messages are handled, and then the caller hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from resprout.runtime.message import Call

if TYPE_CHECKING:
    from resprout.runtime.errors import ActorCrashed
    from resprout.runtime.message import Message

T = TypeVar("T")

PROMISED: Final = object()
"""What a method returns in place of a result that will be given later."""

FEW = 64  # Below this number nothing is cleared away.


class Reply(Generic[T]):
    """The answer to one call; whoever holds it may give it, once, and nobody minds if the caller has gone.

    Made by `Context.reply_later`. The method returns `promise`:

    >>> from resprout.runtime import Actor
    >>> class Door(Actor):
    ...     async def wait_until_open(self) -> str:
    ...         self.waiting: Reply[str] = self.context.reply_later()
    ...         return self.waiting.promise
    ...     async def open(self) -> None:
    ...         self.waiting.send("come in")

    If the actor ends before it has answered, the caller gets `ActorCrashed` at once, as for a message in work.
    """

    __slots__ = ("_message", "_promises")

    def __init__(self, message: Message, promises: Promises) -> None:
        self._message, self._promises = message, promises

    @property
    def promise(self) -> T:
        """Return this from the method that the caller called."""
        return cast("T", PROMISED)

    @property
    def waited_for(self) -> bool:
        """Whether somebody still waits: not after a deadline, a cancellation or an answer, nor for a cast."""
        return isinstance(self._message, Call) and self._message.task is not None

    def send(self, value: T) -> bool:
        """Answer with *value*; False if nobody waits (any more)."""
        waited_for = self.waited_for
        if isinstance(self._message, Call):
            self._message.reply(value)
            self._promises.kept(self._message)
        return waited_for

    def fail(self, error: Exception) -> bool:
        """Raise *error* in the caller; False if nobody waits (any more)."""
        waited_for = self.waited_for
        if isinstance(self._message, Call):
            self._message.fail(error)
            self._promises.kept(self._message)
        return waited_for


class Promises:
    """The calls that one incarnation has promised to answer."""

    __slots__ = ("_calls", "_clear_at")

    def __init__(self) -> None:
        self._calls: dict[Call, None] = {}
        self._clear_at = FEW

    def __contains__(self, message: object) -> bool:
        return message in self._calls

    def __len__(self) -> int:
        return len(self._calls)

    def make(self, message: Message) -> Reply[T]:
        """Promise to answer *message*."""
        if isinstance(message, Call):
            self._calls[message] = None
            if len(self._calls) > self._clear_at:  # Of those whose callers have gone nobody reports.
                self._calls = dict.fromkeys(call for call in self._calls if call.task is not None)
                self._clear_at = max(FEW, 2 * len(self._calls))
        return Reply(message, self)

    def kept(self, call: Call) -> None:
        """*call* has its answer."""
        self._calls.pop(call, None)

    def break_all(self, error: ActorCrashed) -> None:
        """The incarnation has ended: tell everybody who still waits."""
        calls, self._calls = self._calls, {}
        for call in calls:
            call.fail(error)
