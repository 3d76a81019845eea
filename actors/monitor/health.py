"""What is known about the health of services, and when it says "ready". Pure."""

import math
from collections.abc import Mapping

import attrs

from resprout.actors.monitor.policy import MonitorPolicy


@attrs.frozen
class Health:
    """What the checks of one service said.

    Attributes:
        ok: Whether the last check went well.
        why: Why not; empty if it did.
        since: When *ok* last changed.
        checked_at: When the last check ended; minus infinity before the first.
        asked_at: When the service's owner was last asked to recover; minus infinity if it need not be.
    """

    ok: bool
    why: str
    since: float
    checked_at: float = -math.inf
    asked_at: float = -math.inf


@attrs.frozen
class Verdict:
    """One service as readiness sees it: *ok*, or not and *why*; *required* ones decide."""

    ok: bool
    required: bool
    why: str = ""


@attrs.frozen
class Readiness:
    """Whether the application can do its work: every required service is ok."""

    ok: bool
    services: Mapping[str, Verdict]

    def report(self) -> dict[str, object]:
        """As plain data, for JSON."""
        return {
            "ready": self.ok,
            "services": {name: attrs.asdict(verdict) for name, verdict in self.services.items()},
        }


def unknown(now: float) -> Health:
    """Before the first check."""
    return Health(ok=False, why="not checked yet", since=now)


def checked(before: Health, now: float, error: Exception | None) -> Health:
    """A check ended with *error*, or well."""
    ok = error is None
    return Health(
        ok=ok,
        why="" if error is None else str(error) or repr(error),
        since=before.since if ok is before.ok else now,
        checked_at=now,
        asked_at=-math.inf if ok else before.asked_at,
    )


def should_ask(health: Health, now: float, policy: MonitorPolicy) -> bool:
    """Whether to ask the service's owner to recover: at the first bad check, then no more often than *every*.

    More often would defeat the backoff of the connection, which spares a service that is coming up.
    """
    return not health.ok and now - health.asked_at >= policy.every


def verdict(
    health: Health, trouble: str | None, now: float, policy: MonitorPolicy, *, required: bool, paused: bool
) -> Verdict:
    """Judge one service.

    Args:
        health: What the checks said.
        trouble: What the owner knows now without asking the service: empty if nothing, None if it knows
            nothing at all because nobody is there.
        now: The present moment.
        policy: Says when a result is too old; not while *paused*, when nobody checks.
        required: Whether readiness depends on it.
        paused: Whether checks are paused.
    """
    if trouble is None:
        return Verdict(False, required, "its actor is not running")
    if trouble:
        return Verdict(False, required, trouble)
    if not paused and now - max(health.checked_at, health.since) > policy.stale_after:
        return Verdict(False, required, f"no check has ended for {now - health.checked_at:.0f} s")
    if not health.ok:
        return Verdict(False, required, health.why)
    return Verdict(True, required)
