"""What a retry storm is: more attempts to connect than the rules allow.

Two rules make attempts: backoff, and callers who ask meanwhile. Those bring an attempt forward at most once in a
second, or in a tenth of the outage if that is more.
"""

import math
import random

from resprout.runtime.backoff import Backoff, delay

SEEDS = 300
ALLOWANCE = 1.2  # Times the budget: the health monitor may bring an attempt forward too.


def budget(seconds: float) -> int:
    """The most attempts in *seconds*: of 300 draws of the default backoff, and all that may be brought forward."""
    by_backoff = max(_attempts(seconds, random.Random(seed)) for seed in range(SEEDS))
    brought_forward = 1 + min(seconds, 10) + 10 * math.log(max(seconds, 10) / 10)
    return by_backoff + math.ceil(brought_forward)


def storms(failed: int, seconds: float) -> str:
    """Why *failed* attempts in *seconds* are a storm; empty if they are not."""
    most = ALLOWANCE * budget(seconds)
    return (
        f"{failed} failed attempts in {seconds:.0f} s, at most {most:.0f} are in order"
        if failed > most
        else ""
    )


def _attempts(seconds: float, rng: random.Random) -> int:
    now, failures = 0.0, 0
    while now <= seconds:
        failures += 1
        now += delay(Backoff(), failures, rng)
    return failures
