"""What a pool is given: its surroundings, and whom it tells about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from resprout.actors.postgres.driver import Driver
    from resprout.actors.postgres.homes import Homes
    from resprout.actors.postgres.policy import PoolPolicy
    from resprout.actors.postgres.pool import Pool
    from resprout.runtime.events import Event


class Owner(Protocol):
    """Whom a pool tells about itself: a `Gate`, in practice."""

    def lost(self, link: Pool, why: Exception) -> None:
        """It cannot get a connection any more."""

    def impaired(self, link: Pool, why: str) -> None:
        """It has connections, but fewer than it wants."""

    def succeeded(self) -> None:
        """A statement was answered."""

    def failed(self, error: BaseException) -> None:
        """A statement failed over a live connection, and that is the server's fault."""


@attrs.frozen
class Setting:
    """What a pool needs to know about its surroundings.

    Attributes:
        service: Name in errors and events.
        actor: Path of the owner, for events, and shown to the server's operators.
        dsn: Asked before each attempt, so that credentials may change.
        driver: Opens connections.
        policy: Sizes and times.
        emit: Takes events.
        random: Source of jitter.
        homes: Where connections live; None for the nursery of the pool.
    """

    service: str
    actor: str
    dsn: Callable[[], Awaitable[str]]
    driver: Driver
    policy: PoolPolicy
    emit: Callable[[Event], None]
    random: random.Random
    homes: Homes | None = None
