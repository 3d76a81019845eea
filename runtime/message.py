"""A method call on its way to an actor, and the slot its answer goes into.

A reply reschedules the waiting task directly: no channel and no event per call. A slot is used at most once;
whoever comes late (a reply after the deadline, a deadline after the reply) finds it empty and does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import outcome
from trio.lowlevel import Abort, reschedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio.lowlevel import RaiseCancelT, Task

    from resprout.runtime.mailbox import Mailbox


class Message:
    """A cast: the method's name and its arguments. Nobody waits for it."""

    __slots__ = ("args", "kwargs", "method")

    def __init__(self, method: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        self.method = method
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        shown = [repr(arg) for arg in self.args] + [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"{self.method}({', '.join(shown)})"


class Call(Message):
    """A message that is answered. *task* waits for the answer, and is None once it has one or has gone."""

    __slots__ = ("bucket", "deadline", "mailbox", "started", "task", "timeout")

    def __init__(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        task: Task,
        timeout: float,
        mailbox: Mailbox,
    ) -> None:
        self.method, self.args, self.kwargs = method, args, kwargs
        self.task: Task | None = task
        self.timeout, self.mailbox = timeout, mailbox
        self.started = False
        self.deadline = 0.0
        self.bucket: dict[Call, None] | None = None

    def reply(self, value: object) -> None:
        """Give the caller its answer, if it still waits."""
        task = self.task
        if task is not None:
            self.task = None
            if self.bucket is not None:
                del self.bucket[self]
            reschedule(task, outcome.Value(value))

    def fail(self, error: BaseException) -> None:
        """Raise *error* in the caller, if it still waits."""
        task = self.task
        if task is not None:
            self._withdraw()
            reschedule(task, outcome.Error(error))

    def abort(self, _raise_cancel: RaiseCancelT) -> Abort:
        """The caller was cancelled: a call that has not begun will never run."""
        self._withdraw()
        return Abort.SUCCEEDED

    def _withdraw(self) -> None:
        self.task = None
        if self.bucket is not None:
            del self.bucket[self]
        if not self.started:
            self.mailbox.call_withdrawn(self)
