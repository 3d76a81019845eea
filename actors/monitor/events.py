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
    """Checks pause for *seconds* because *by* asked for it, and go on by themselves after that."""

    level = "warning"

    seconds: float
    by: str
    reason: str


@attrs.frozen(kw_only=True)
class MonitorResumed(Event):
    """Checks go on after a pause: *by* wanted it, or its time was over if that is empty."""

    by: str
