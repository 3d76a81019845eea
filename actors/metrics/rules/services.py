"""Events of connections, of the health monitor, of the authenticator and of server processes."""

from resprout.actors.auth.desk import GraceUsed, VerifierFailed
from resprout.actors.connection.events import (
    AttemptFailed,
    ConnectionChanged,
    LinkLost,
    LinkReplaced,
    ProbeMissed,
    Recovered,
    RotationFailed,
)
from resprout.actors.connection.states import Connecting, Ready
from resprout.actors.metrics import catalogue as metrics
from resprout.actors.metrics.increments import Increments, increments, one
from resprout.actors.monitor.events import HealthChanged, RecoveryAsked
from resprout.actors.process.events import LeftoverKilled, ProcessExited, ProcessReady


@increments.register
def changed(event: ConnectionChanged) -> Increments:
    """An attempt that succeeds has no event of its own: it ends `Connecting` with `Ready`."""
    change = one(metrics.CHANGES, event.service, event.new.name)
    succeeded = isinstance(event.old, Connecting) and isinstance(event.new, Ready)
    return change + one(metrics.ATTEMPTS, event.service) if succeeded else change


@increments.register
def attempt_failed(event: AttemptFailed) -> Increments:
    return one(metrics.ATTEMPTS, event.service) + one(
        metrics.FAILED_ATTEMPTS, event.service, event.kind.value
    )


@increments.register
def link_lost(event: LinkLost) -> Increments:
    return one(metrics.LOST, event.service)


@increments.register
def link_replaced(event: LinkReplaced) -> Increments:
    return one(metrics.ROTATIONS, event.service)


@increments.register
def rotation_failed(event: RotationFailed) -> Increments:
    return one(metrics.FAILED_ROTATIONS, event.service, event.kind.value)


@increments.register
def probe_missed(event: ProbeMissed) -> Increments:
    return one(metrics.PROBES_MISSED, event.service)


@increments.register
def recovered(event: Recovered) -> Increments:
    return one(metrics.RECOVERIES, event.service) + one(metrics.OUTAGES, event.service, amount=event.duration)


@increments.register
def health_changed(event: HealthChanged) -> Increments:
    return one(metrics.HEALTH_CHANGES, event.service, "yes" if event.ok else "no")


@increments.register
def recovery_asked(event: RecoveryAsked) -> Increments:
    return one(metrics.RECOVERY_ASKED, event.service)


@increments.register
def verifier_failed(event: VerifierFailed) -> Increments:
    return one(metrics.VERIFIER_ERRORS, event.service)


@increments.register
def grace_used(event: GraceUsed) -> Increments:
    return one(metrics.GRACE, event.service)


@increments.register
def process_ready(event: ProcessReady) -> Increments:
    return one(metrics.PROCESS_READY, event.service)


@increments.register
def process_exited(event: ProcessExited) -> Increments:
    return one(metrics.PROCESS_EXITS, event.service)


@increments.register
def leftover_killed(event: LeftoverKilled) -> Increments:
    return one(metrics.LEFTOVERS, event.service)
