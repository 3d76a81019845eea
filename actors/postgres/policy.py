"""The numbers of a pool and of its clients: seconds, but for counts."""

from __future__ import annotations

import math

import attrs

from resprout.actors.connection.on_down import FAIL_FAST, OnDown
from resprout.actors.connection.policy import DEFAULT_POLICY, KeeperPolicy


@attrs.frozen(kw_only=True)
class PoolPolicy:
    """How a pool is kept.

    Attributes:
        min_size: Connections kept open; at least one, so that an outage is noticed before a caller does.
        max_size: Connections at most.
        max_waiting: Callers that may wait in line; None for ten for each connection.
        codel_target: A line whose *shortest* wait stays above this for a whole interval is overloaded.
        codel_interval: How long that must last. Then those who waited twice the target are sent away.
        max_lifetime: A connection is replaced after this time, less up to *lifetime_jitter* of it.
        lifetime_jitter: Share by which lives differ, so that connections do not all end together.
        idle_timeout: A connection beyond *min_size* that was idle this long is closed.
        renew_after: A connection that finds the server read-only is replaced, if it is at least this old: else a
            server that stays read-only would cost a connection for each refused write.
        holder_warning: Whoever holds a connection longer is reported, with the stack.
        keeper: How the endpoint is connected to, probed and tried again.

    Raises:
        ValueError: If a number makes no sense.
    """

    min_size: int = 1
    max_size: int = 10
    max_waiting: int | None = None
    codel_target: float = 0.05
    codel_interval: float = 1.0
    max_lifetime: float = 1800.0
    lifetime_jitter: float = 0.1
    idle_timeout: float = 600.0
    renew_after: float = 5.0
    holder_warning: float = 30.0
    keeper: KeeperPolicy = DEFAULT_POLICY

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.min_size <= self.max_size:
            raise ValueError(f"1 <= min_size <= max_size must hold, not {self.min_size} and {self.max_size}")
        if self.max_waiting is not None and self.max_waiting < 0:
            raise ValueError(f"max_waiting must not be negative, not {self.max_waiting}")
        durations = "codel_target codel_interval max_lifetime idle_timeout renew_after holder_warning"
        for name in durations.split():
            seconds = getattr(self, name)
            if not seconds > 0:
                raise ValueError(f"{name} must be a positive number of seconds, not {seconds}")
        if not 0 <= self.lifetime_jitter < 1:
            raise ValueError(
                f"lifetime_jitter must be at least 0 and less than 1, not {self.lifetime_jitter}"
            )

    @property
    def line_limit(self) -> int:
        """How many callers may wait."""
        return 10 * self.max_size if self.max_waiting is None else self.max_waiting


@attrs.frozen
class CallPolicy:
    """How a client's statements behave.

    Attributes:
        timeout: Seconds a statement may take, its wait for a connection included.
        acquire_timeout: Seconds to wait for a connection, where that is a step of its own.
        on_down: What to do while there is no connection at all.
        idempotent: Running a statement twice does no harm, so one whose answer was lost may run again.
        resolvable: A transaction that wrote something asks for its id before COMMIT, one round trip, so that
            `PostgresClient.resolve` can find out what became of it if the answer is lost.
    """

    timeout: float = 5.0
    acquire_timeout: float = 5.0
    on_down: OnDown = FAIL_FAST
    idempotent: bool = False
    resolvable: bool = True

    def __attrs_post_init__(self) -> None:
        for name, seconds in (("timeout", self.timeout), ("acquire_timeout", self.acquire_timeout)):
            if not seconds > 0 or math.isnan(seconds):
                raise ValueError(f"{name} must be a positive number of seconds, not {seconds}")
