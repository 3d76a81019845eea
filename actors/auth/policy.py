"""The numbers of an authenticator."""

import math
from typing import Final

import attrs

from resprout.runtime.breaker_policy import DEFAULT_BREAKER, BreakerPolicy


@attrs.frozen(kw_only=True)
class AuthPolicy:
    """How tokens are verified.

    Attributes:
        timeout: Seconds for one run of the verifier.
        breaker: When to stop asking, and how to try again.
        probe_every: Seconds between two probes of the service, give or take a tenth, while the breaker is not
            closed: a service that is back is found about this much later, without any user.
        max_token_chars: Longer tokens are refused unread.
        max_concurrent: Runs of the verifier at one time.
        max_waiting: Different tokens that may wait for their turn; more are refused at once.
        grace: Seconds for which a token that was verified passes without the verifier, and only while that is
            away. Zero, the default, means never. A revoked token may pass for as long.
        cache_size: Tokens remembered for *grace*, the longest unused forgotten first.

    Raises:
        ValueError: If a number is negative, not finite, or zero where that would let nothing pass.
    """

    timeout: float = 5.0
    breaker: BreakerPolicy = DEFAULT_BREAKER
    probe_every: float = 10.0
    max_token_chars: int = 16_384
    max_concurrent: int = 64
    max_waiting: int = 1_000
    grace: float = 0.0
    cache_size: int = 10_000

    def __attrs_post_init__(self) -> None:
        for name, seconds in (("timeout", self.timeout), ("probe_every", self.probe_every)):
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} must be a positive, finite number of seconds, not {seconds}")
        if not (math.isfinite(self.grace) and self.grace >= 0):
            raise ValueError(f"grace must be a finite number of seconds, at least 0, not {self.grace}")
        if min(self.max_token_chars, self.max_concurrent, self.cache_size) < 1 or self.max_waiting < 0:
            raise ValueError(
                f"max_token_chars, max_concurrent and cache_size must be at least 1, max_waiting 0: {self}"
            )


DEFAULT_AUTH: Final = AuthPolicy()
