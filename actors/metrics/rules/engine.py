"""Events of the engine, of supervisors, and of circuit breakers."""

from typing import Final, assert_never

from resprout.actors.metrics import catalogue as metrics
from resprout.actors.metrics.increments import Increments, increments, one
from resprout.runtime.breaker_events import BreakerChanged
from resprout.runtime.events import SubscriberFailed
from resprout.runtime.exits import Crashed, ExitReason, Killed, Normal, Shutdown
from resprout.runtime.lifecycle import ActorExited, ActorRestarting, ActorStuck, AlarmFailed, CastFailed
from resprout.runtime.watchdog import LoopBlocked
from resprout.supervisors.supervisor import LimitReached

OPEN: Final = ("open", "forced_open")


@increments.register
def exited(event: ActorExited) -> Increments:
    return one(metrics.ACTOR_EXITS, event.actor, reason_of(event.reason))


@increments.register
def restarting(event: ActorRestarting) -> Increments:
    return one(metrics.RESTARTS, event.actor)


@increments.register
def stuck(event: ActorStuck) -> Increments:
    return one(metrics.STUCK, event.actor) if event.count == 1 else ()


@increments.register
def blocked(event: LoopBlocked) -> Increments:
    return one(metrics.BLOCKED, event.actor)


@increments.register
def alarm_failed(event: AlarmFailed) -> Increments:
    return one(metrics.ALARM_FAILURES, event.actor)


@increments.register
def cast_failed(event: CastFailed) -> Increments:
    return one(metrics.CAST_FAILURES, event.actor)


@increments.register
def limit_reached(event: LimitReached) -> Increments:
    return one(metrics.LIMITS_REACHED, event.actor, "give_up" if event.pause is None else "cool_down")


@increments.register
def subscriber_failed(event: SubscriberFailed) -> Increments:
    return one(metrics.SUBSCRIBER_FAILURES)


@increments.register
def breaker_changed(event: BreakerChanged) -> Increments:
    changed = one(metrics.BREAKER_CHANGES, event.service, event.new.name)
    if event.old.name not in OPEN:
        return changed
    return changed + one(metrics.BREAKER_OPEN, event.service, amount=event.new.since - event.old.since)


def reason_of(reason: ExitReason) -> str:
    """*reason* as a label."""
    match reason:
        case Normal():
            return "normal"
        case Shutdown():
            return "shutdown"
        case Killed():
            return "killed"
        case Crashed():
            return "crashed"
        case _:
            assert_never(reason)
