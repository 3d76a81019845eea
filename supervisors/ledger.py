"""What one supervisor remembers of the restarts of its children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resprout.runtime.backoff import delay
from resprout.supervisors.cooldown import CoolDown, Pauses, next_pause
from resprout.supervisors.intensity import Allowed, Exceeded, Intensity, count_restart

if TYPE_CHECKING:
    import random

    from resprout.supervisors.spec import ChildSpec


class Ledger:
    """The restart window, the pauses, and each child's failures in a row. Asks the rules, keeps the answers."""

    def __init__(self, limit: Intensity) -> None:
        self._limit = limit
        self._recent: tuple[float, ...] = ()
        self._pauses = Pauses()
        self._failures: dict[str, int] = {}

    def count(self, now: float) -> bool:
        """Count one restart; False if it is one too many."""
        match count_restart(self._recent, now, self._limit):
            case Allowed(recent=recent):
                self._recent = recent
                return True
            case Exceeded():
                return False

    def pause(self, now: float, policy: CoolDown) -> float:
        """Seconds to wait at the limit; after that the window is empty."""
        length, self._pauses = next_pause(self._pauses, now, policy)
        self._recent = ()
        return length

    def delay(self, spec: ChildSpec, lived: float, rng: random.Random) -> float:
        """Seconds to wait before *spec* is started again, after it ran for *lived* seconds."""
        if spec.backoff is None:
            return 0.0
        stable = spec.reset_after if spec.reset_after is not None else spec.backoff.cap
        failures = 1 if lived > stable else self._failures.get(spec.id, 0) + 1
        self._failures[spec.id] = failures
        return delay(spec.backoff, failures, rng)

    def forget(self, id: str) -> None:
        """The child is gone for good."""
        self._failures.pop(id, None)
