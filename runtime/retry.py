"""Try a call again: within a deadline, a shared budget, and only where a second run does no harm.

    await retry(lambda: breaker.call(charge, order), budget=retry_budgets().get("billing"), timeout=5)

Retry at one layer only, the outermost: a retry around a retry multiplies. The breaker belongs inside, so that it
sees every attempt.
"""

import random as randomness
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from resprout.runtime.backoff import DEFAULT_BACKOFF, Backoff, delay
from resprout.runtime.classify import is_programming_error, leaves
from resprout.runtime.errors import (
    CircuitOpen,
    DeadlineExceeded,
    OutcomeUnknown,
    ReplyError,
    Sent,
    ServiceError,
)
from resprout.runtime.retry_budget import RetryBudget

R = TypeVar("R")


async def retry(
    fn: Callable[[], Awaitable[R]],
    *,
    budget: RetryBudget,
    timeout: float,
    idempotent: bool = False,
    backoff: Backoff = DEFAULT_BACKOFF,
    random: randomness.Random | None = None,
) -> R:
    """Return what ``await fn()`` returns, trying again after failures that allow it.

    An attempt is followed by another one if its error says that nothing was sent, or, with *idempotent*, if it is
    any failure of the service: see `may_repeat`. And if the budget has a retry left, and the wait before it ends
    within the time: at least `retry_after`, if the error knows it, and a growing random time on top.

    Args:
        fn: Makes one attempt; called anew for each.
        budget: Shared by all callers of the service; also bounds the retries of one call.
        timeout: Seconds for everything. An earlier deadline of a surrounding scope counts too.
        idempotent: Whether the caller vouches that running it twice does no harm.
        backoff: How the waits grow.
        random: Source of jitter; one of its own if left out.

    Raises:
        DeadlineExceeded: No result within *timeout*; safe to ask again, as it is *idempotent*.
        OutcomeUnknown: No result within *timeout*, and the attempt that was cancelled may have run.
        Exception: The error of the last attempt, as it was.
        ValueError: If *timeout* is not positive.
    """
    if not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}; choose one")
    rng = random or randomness.Random()
    last: list[Exception] = []  # Emptied at the end: an error must not hold itself by this frame.
    try:
        with budget.call() as call, trio.CancelScope(deadline=trio.current_time() + timeout):
            while True:
                try:
                    return await fn()
                except Exception as error:
                    wait = wait_before_retry(error, delay(backoff, call.retries + 1, rng))
                    in_time = trio.current_time() + wait < trio.current_effective_deadline()
                    if not (may_repeat(error, idempotent=idempotent) and in_time and call.may_retry()):
                        raise
                    last[:] = [error]
                await trio.sleep(wait)
        raise (DeadlineExceeded if idempotent else OutcomeUnknown)(
            budget.service,
            f"no result within {timeout:g} s",
            sent=Sent.MAYBE,
            cause=last[0] if last else None,
        )
    finally:
        last.clear()


def may_repeat(error: BaseException, *, idempotent: bool) -> bool:
    """Whether a call that ended with *error* may be made again without harm and with hope.

    Never after an answer (a `ReplyError` that is no `ServiceError`) or a programming error. Always if `sent` is
    `NO`; else, also where an error does not say, only what is *idempotent*. A group may if all of its leaves may.

    >>> may_repeat(ConnectionResetError(), idempotent=False), may_repeat(ConnectionResetError(), idempotent=True)
    (False, True)
    """
    return all(_leaf_may_repeat(leaf, idempotent=idempotent) for leaf in leaves(error))


def _leaf_may_repeat(error: BaseException, *, idempotent: bool) -> bool:
    match error:
        case CircuitOpen(retry_after=None):
            return False
        case ServiceError(sent=Sent.NO):
            return True
        case ServiceError():
            return idempotent
        case ReplyError():
            return False
        case Exception():
            return idempotent and not is_programming_error(error)
        case _:
            return False


def wait_before_retry(error: BaseException, drawn: float) -> float:
    """Seconds to wait: *drawn*, after what the error asks for, so that not all come back at one moment."""
    asked = (leaf.retry_after or 0.0 for leaf in leaves(error) if isinstance(leaf, ServiceError))
    return max(asked, default=0.0) + drawn
