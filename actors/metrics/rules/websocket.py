"""Events of queues and of the WebSocket server."""

from resprout.actors.metrics import catalogue as metrics
from resprout.actors.metrics.increments import Increments, increments, one
from resprout.actors.websocket.events import (
    ConnectionBroken,
    ConnectionRefused,
    LawBroken,
    MessageDied,
    MessageFailed,
    SessionEnded,
    SessionStarted,
    StoreAway,
    StoreWeak,
    StreamReset,
)


@increments.register
def session_started(event: SessionStarted) -> Increments:
    return one(metrics.SESSIONS_STARTED, event.actor)


@increments.register
def session_ended(event: SessionEnded) -> Increments:
    return one(metrics.SESSIONS_ENDED, event.actor)


@increments.register
def message_failed(event: MessageFailed) -> Increments:
    return one(metrics.FAILED_MESSAGES, event.actor)


@increments.register
def message_died(event: MessageDied) -> Increments:
    return one(metrics.DEATHS, event.actor)


@increments.register
def stream_reset(event: StreamReset) -> Increments:
    return one(metrics.STREAM_RESETS, event.actor)


@increments.register
def store_away(event: StoreAway) -> Increments:
    return one(metrics.STORE_ERRORS, event.actor)


@increments.register
def store_weak(event: StoreWeak) -> Increments:
    return one(metrics.STORE_WEAK, event.actor)


@increments.register
def law_broken(event: LawBroken) -> Increments:
    return one(metrics.LAW_BROKEN, event.actor)


@increments.register
def connection_refused(event: ConnectionRefused) -> Increments:
    return one(metrics.REFUSED, event.actor)


@increments.register
def connection_broken(event: ConnectionBroken) -> Increments:
    return one(metrics.BROKEN, event.actor)
