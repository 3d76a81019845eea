"""The numbers of a health monitor, in seconds but for the share."""

import math
from typing import Final

import attrs

MAX_PAUSE: Final = 24 * 3600.0


@attrs.frozen(kw_only=True)
class MonitorPolicy:
    """How services are watched.

    Attributes:
        every: Between two checks of a healthy service, and between two requests to recover to one that is not.
        jitter: Share by which *every* varies to both sides.
        recheck_every: Between two looks at a service that is not healthy. It is checked only if its owner no
            longer knows of any trouble, so that nobody hammers a service that is coming up.
        check_timeout: For one check. A check that fails is made once more, at once; so a dead peer is found within
            ``every * (1 + jitter) + 2 * check_timeout``: 44 s. A little more than the 5 s that the probe of a
            connection may take, so that the connection learns of a missed one too.

    Raises:
        ValueError: If a number is not positive or not finite.
    """

    every: float = 30.0
    jitter: float = 0.1
    recheck_every: float = 2.0
    check_timeout: float = 5.5

    def __attrs_post_init__(self) -> None:
        for name, seconds in (
            ("every", self.every),
            ("recheck_every", self.recheck_every),
            ("check_timeout", self.check_timeout),
        ):
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} must be a positive, finite number of seconds, not {seconds}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be at least 0 and less than 1, not {self.jitter}")

    @property
    def stale_after(self) -> float:
        """Seconds without a finished check after which the last result is no longer believed."""
        return 2 * (self.every * (1 + self.jitter) + self.check_timeout)


DEFAULT_MONITOR: Final = MonitorPolicy()
