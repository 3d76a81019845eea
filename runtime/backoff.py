"""How long to wait after a failure. Only the delay is capped: nothing here counts to a last attempt.

Full jitter: the wait is drawn evenly from zero up to a ceiling that doubles with each failure in a row, so
that a crowd of clients spreads out instead of coming back together. The *exponent* is clamped, not the
result: the float power of an unclamped one overflows after about a thousand failures, and a client that
lived through hours of an outage dies of arithmetic.
"""

import math
import random

import attrs


@attrs.frozen
class Backoff:
    """How delays grow. All in seconds but *max_exponent*.

    Attributes:
        floor: No wait is shorter, so that nobody retries in a hot loop.
        base: The ceiling after the first failure.
        cap: The ceiling never grows beyond this.
        max_exponent: How often the ceiling may double before it stays.

    Raises:
        ValueError: If a number is not finite, not positive, or *floor* <= *base* <= *cap* does not hold.
    """

    floor: float = 0.05
    base: float = 0.25
    cap: float = 30.0
    max_exponent: int = 10

    def __attrs_post_init__(self) -> None:
        if not all(math.isfinite(seconds) for seconds in (self.floor, self.base, self.cap)):
            raise ValueError(f"floor, base and cap must be finite numbers of seconds: {self}")
        if not 0 < self.floor <= self.base <= self.cap:
            raise ValueError(f"0 < floor <= base <= cap must hold: {self}")
        if not 0 <= self.max_exponent <= 64:
            raise ValueError(f"max_exponent must be between 0 and 64: {self}")


DEFAULT_BACKOFF = Backoff()


def delay(policy: Backoff, failures: int, rng: random.Random) -> float:
    """Draw the seconds to wait after *failures* failures in a row.

    Args:
        policy: How delays grow.
        failures: Failures in a row so far, this one included: 1 after the first.
        rng: Source of the jitter.

    Returns:
        At least `policy.floor`, at most ``ceiling(policy, failures)``.

    >>> 0.05 <= delay(Backoff(), 1, random.Random(7)) <= 0.25
    True
    """
    return max(policy.floor, rng.uniform(0.0, ceiling(policy, failures)))


def ceiling(policy: Backoff, failures: int) -> float:
    """The longest wait after *failures* failures in a row, in seconds.

    >>> [ceiling(Backoff(), failures) for failures in (1, 2, 3, 8, 10_000)]
    [0.25, 0.5, 1.0, 30.0, 30.0]

    Raises:
        ValueError: If *failures* is less than 1: without a failure there is nothing to wait for.
    """
    if failures < 1:
        raise ValueError(f"failures must be at least 1, not {failures}")
    exponent = min(failures - 1, policy.max_exponent)
    return min(policy.cap, policy.base * 2.0**exponent)
