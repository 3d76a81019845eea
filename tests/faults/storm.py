"""What a retry storm is: more attempts to connect than the rule of backoff allows."""

import random

from resprout.runtime.backoff import Backoff, delay

SEEDS = 300
ALLOWANCE = 1.2  # Times the budget: who asks by hand or watches may bring an attempt forward.


def budget(seconds: float) -> int:
    """The most attempts in *seconds* that any of 300 draws of the default backoff makes."""
    return max(_attempts(seconds, random.Random(seed)) for seed in range(SEEDS))


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
