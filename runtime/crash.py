"""What an exception that left an actor's code is: an answer, a message put aside, a crash, or a process to end."""

from __future__ import annotations

import trio

from resprout.runtime.errors import ReplyError
from resprout.runtime.exits import Crashed


class PutAside(BaseException):
    """Raised by `Context.stash`; no `Exception`, so that no handler takes it for a failure."""

    def __init__(self) -> None:
        super().__init__(
            "stash() raised this to leave the message's method, and it must do so: do not keep it"
        )


def only_put_aside(raised: PutAside | BaseExceptionGroup[BaseException]) -> None:
    """Raise what *raised*, which left a method, is besides `PutAside`; return if it is nothing else.

    >>> only_put_aside(BaseExceptionGroup("", [BaseExceptionGroup("", [PutAside()])]))
    """
    rest = raised.split(PutAside)[1] if isinstance(raised, BaseExceptionGroup) else None
    if rest is not None:
        raise rest


def only_replies(group: ExceptionGroup[Exception]) -> Exception:
    """The answer in *group*: its only reply error, or all of it if there are several. Else raise *group*.

    A remote's failure must not crash an actor only because it asked several remotes at once, in a nursery.

    >>> only_replies(ExceptionGroup("", [ExceptionGroup("", [ReplyError("no")])]))
    ReplyError('no')
    """
    if group.split(ReplyError)[1] is not None:
        raise group
    error: Exception = group
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def crash_of(error: BaseException) -> Crashed:
    """*error* as an exit reason; one that cannot be printed is replaced by one that can.

    Reasons are printed in messages and logs, deep inside the runtime: a `__str__` or `__repr__` of the
    application that raises must not harm more than its own actor.
    """
    try:
        str(error), repr(error)
    except Exception:  # noqa: BLE001 - a hostile __str__ may raise anything.
        printable = RuntimeError(f"{type(error).__qualname__}, which cannot be printed")
        printable.__cause__ = error
        return Crashed(printable)
    return Crashed(error)


def fatal_part(error: BaseException) -> BaseException | None:
    """What has to come out of the process: the interrupt or exit in *error*, else all of it but cancellations.

    A `PutAside` where none can be is a mistake of its actor, and only of that.

    >>> fatal_part(BaseExceptionGroup("", [ValueError(), SystemExit(3)]))
    SystemExit(3)
    """
    if not isinstance(error, BaseExceptionGroup):
        return None if isinstance(error, PutAside) else error
    stops: BaseException | None = error.subgroup((KeyboardInterrupt, SystemExit))
    while isinstance(stops, BaseExceptionGroup):
        stops = stops.exceptions[0]
    return stops or error.split((trio.Cancelled, PutAside))[1]
