"""Events of Postgres pools."""

from resprout.actors.metrics import catalogue as metrics
from resprout.actors.metrics.increments import Increments, increments, one
from resprout.actors.postgres.events import ConnectionClosed, ConnectionOpened, HeldTooLong, PoolRefused


@increments.register
def opened(event: ConnectionOpened) -> Increments:
    return one(metrics.OPENED, event.service)


@increments.register
def closed(event: ConnectionClosed) -> Increments:
    return one(metrics.CLOSED, event.service, "yes" if event.planned else "no")


@increments.register
def refused(event: PoolRefused) -> Increments:
    return one(metrics.EXHAUSTED, event.service)


@increments.register
def held_too_long(event: HeldTooLong) -> Increments:
    return one(metrics.HELD_TOO_LONG, event.service)
