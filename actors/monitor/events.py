"""What a health monitor reports."""

import attrs

from resprout.runtime.events import Event


@attrs.frozen(kw_only=True)
class HealthChanged(Event):
    """*service* was found healthy again, or no longer, and *why* not."""

    service: str
    ok: bool
    why: str

    def log_level(self) -> str:
        """A service in trouble is worth a warning, one that is well again is good news."""
        return "info" if self.ok else "warning"


@attrs.frozen(kw_only=True)
class RecoveryAsked(Event):
    """The owner of *service* was asked to recover it."""

    level = "debug"

    service: str
    why: str


@attrs.frozen(kw_only=True)
class MonitorPaused(Event):
    """Checks pause for *seconds*, and go on by themselves after that. Zero: they go on now."""

    level = "warning"

    seconds: float
    by: str
    reason: str
