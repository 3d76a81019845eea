"""The numbers of a connection: seconds, but for counts. Defaults are the ones the documentation promises."""

import math
from typing import Final

import attrs

from resprout.runtime.backoff import Backoff
from resprout.runtime.breaker_policy import BreakerPolicy

# The keeper tries the link by itself and no caller pays for it, so the first trial comes soon: a server that hung
# for three seconds must not be refused for thirty. Where probes are well and calls are not, the time grows.
CONNECTION_BREAKER: Final = BreakerPolicy(open_for=1.0, open_cap=30.0)

# A probe that fails is repeated at once; this many in a row mean that the link is dead.
MISSES_UNTIL_LOST: Final = 2

# This many clean probes in a row make a degraded link ready again.
CLEAN_PROBES_UNTIL_READY: Final = 2

# While callers ask for the link, no wait before an attempt is longer than this share of the outage so far.
WANTED_SHARE: Final = 0.1


@attrs.frozen(kw_only=True)
class KeeperPolicy:
    """How a connection is kept.

    Attributes:
        attempt_timeout: For one attempt in all: connect, TLS, handshake and first probe.
        backoff: Waits between attempts. There is no limit on attempts, on purpose.
        stable_after: A link that was up this long counts as a success and resets the backoff.
        probe_every: Between two probes of a ready link.
        probe_jitter: Share by which *probe_every* varies to both sides, so that probes spread out.
        probe_timeout: For one probe.
        degraded_probe_every: Between two probes of a degraded link.
        nudge_every: A nudge, or a caller who asks for the link, brings an attempt forward at most this often.
        drain_timeout: For calls in flight when the connection is asked to drain.
        rotation_drain: For calls in flight on a link that another has taken over from.
        close_timeout: For closing a link in good order.
        max_waiters: Callers that may wait for the link at one time; more are refused at once.
        breaker: When the circuit breaker opens because calls over a live link fail.

    Raises:
        ValueError: If a number is negative, not finite, or zero where zero means a hot loop, or if the breaker
            has a rule about slow calls.
    """

    attempt_timeout: float = 10.0
    backoff: Backoff = Backoff()
    stable_after: float = 5.0
    probe_every: float = 30.0
    probe_jitter: float = 0.1
    probe_timeout: float = 5.0
    degraded_probe_every: float = 5.0
    nudge_every: float = 1.0
    drain_timeout: float = 10.0
    rotation_drain: float = 60.0
    close_timeout: float = 2.0
    max_waiters: int = 10_000
    breaker: BreakerPolicy = CONNECTION_BREAKER

    def __attrs_post_init__(self) -> None:
        durations = {
            name: getattr(self, name)
            for name in (
                "attempt_timeout",
                "stable_after",
                "probe_every",
                "probe_timeout",
                "degraded_probe_every",
                "nudge_every",
                "drain_timeout",
                "rotation_drain",
                "close_timeout",
            )
        }
        for name, seconds in durations.items():
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} must be a positive, finite number of seconds, not {seconds}")
        if not 0 <= self.probe_jitter < 1:
            raise ValueError(f"probe_jitter must be at least 0 and less than 1, not {self.probe_jitter}")
        if self.max_waiters < 0:
            raise ValueError(f"max_waiters must not be negative, not {self.max_waiters}")
        if self.breaker.slow_after < math.inf:
            raise ValueError(
                "the breaker of a connection does not time calls: use another rule than SlowRate or SlowRateIn"
            )


DEFAULT_POLICY: Final = KeeperPolicy()
