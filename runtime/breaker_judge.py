"""What the end of a call says about the service: a failure of it, an answer, or nothing."""

from collections.abc import Callable
from typing import TypeAlias

from resprout.runtime.breaker_rules import Outcome
from resprout.runtime.classify import is_programming_error, leaves
from resprout.runtime.errors import CircuitOpen, Draining, PoolExhausted, ReplyError, ServiceError

Judge: TypeAlias = Callable[[BaseException], Outcome]
ErrorTypes: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]

_STRONGEST_FIRST = (Outcome.FAILURE, Outcome.IGNORED, Outcome.CANCELLED, Outcome.SUCCESS)


def judge(error: BaseException) -> Outcome:
    """What a call that ended with *error* says about the service.

    A group is a failure if any leaf is. Where this does not fit, give a `CircuitBreaker` another function, or
    exceptions to this one: see `judge_by`.

    >>> judge(ConnectionRefusedError()), judge(ReplyError("no such user")), judge(KeyError("x"))
    (<Outcome.FAILURE: 'failure'>, <Outcome.SUCCESS: 'success'>, <Outcome.IGNORED: 'ignored'>)
    """
    return _strongest(error, _judge_leaf)


def judge_by(
    *,
    failure: ErrorTypes = (),
    success: ErrorTypes = (),
    ignored: ErrorTypes = (),
    otherwise: Judge = judge,
) -> Judge:
    """A judge that knows some types of errors; the rest is up to *otherwise*.

    Where an error is of several of these types, the order is as above. Groups are judged by their leaves.

    >>> judged = judge_by(success=FileNotFoundError)
    >>> judged(FileNotFoundError()), judged(ConnectionRefusedError())
    (<Outcome.SUCCESS: 'success'>, <Outcome.FAILURE: 'failure'>)
    """

    def judge_leaf(error: BaseException) -> Outcome:
        if isinstance(error, failure):
            return Outcome.FAILURE
        if isinstance(error, success):
            return Outcome.SUCCESS
        return Outcome.IGNORED if isinstance(error, ignored) else otherwise(error)

    return lambda error: _strongest(error, judge_leaf)


def _strongest(error: BaseException, judge_leaf: Judge) -> Outcome:
    found = {judge_leaf(leaf) for leaf in leaves(error)}
    return next(outcome for outcome in _STRONGEST_FIRST if outcome in found)


def _judge_leaf(error: BaseException) -> Outcome:
    match error:
        case CircuitOpen() | PoolExhausted() | Draining():
            return Outcome.IGNORED  # We never got as far as the service.
        case ServiceError():
            return Outcome.FAILURE
        case ReplyError():
            return Outcome.SUCCESS
        case Exception():
            return Outcome.IGNORED if is_programming_error(error) else Outcome.FAILURE
        case _:
            return Outcome.CANCELLED
