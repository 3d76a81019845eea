"""The circuit breaker of a connection: refuses calls while the link lives and the service behind it does not.

Two things guard a service, and each failure counts in one of them. A link that cannot be made, or dies, is the
state machine's business: without a link nobody gets through anyway, and only the keeper tries again. What fails
*over a live link* (calls that time out, a server that says it is loading or full) is the breaker's.

No call is the breaker's trial: the keeper probes the link along its real path and decides by that, so that the
breaker closes without traffic and no caller pays for the attempt. A good probe ends the open time early only if
probes have seen the trouble too: one failed, was slow, or an attempt to connect failed. A service whose probes
are well while its calls fail is let in again when the open time is over, and that grows.
"""

import math
import random
from collections.abc import Callable
from typing import Final, assert_never

from resprout.runtime.breaker import CircuitBreaker
from resprout.runtime.breaker_events import BreakerChanged
from resprout.runtime.breaker_policy import BreakerPolicy
from resprout.runtime.breaker_rules import Closed, Force, HalfOpen, Open, Override
from resprout.runtime.breakers import breakers
from resprout.runtime.errors import CircuitOpen
from resprout.runtime.events import Event

SLOW: Final = 1.0  # A probe or attempt that took longer, in seconds, has seen the trouble.
TRIAL_GUESS: Final = 0.25  # Most trials are short.


class Fuse:
    """The breaker of the connection that the actor at *actor* keeps; it survives restarts of that actor.

    Args:
        service: Name in errors and events.
        policy: When it opens, and for how long.
        random: Source of jitter.
        emit: Takes its events.
        actor: Path of the owner.
        changed: Called after each change; must not block.
    """

    def __init__(
        self,
        service: str,
        policy: BreakerPolicy,
        *,
        random: random.Random,
        emit: Callable[[Event], None],
        actor: str,
        changed: Callable[[], None],
    ) -> None:
        self._emit, self._changed, self._owner = emit, changed, actor
        self._saw_trouble = False
        self.breaker: CircuitBreaker = breakers().get(
            service, policy, random=random, emit=self._tell, actor=actor, owner=actor
        )

    @property
    def passes(self) -> bool:
        """Whether calls may pass."""
        match self.breaker.state:
            case Closed():
                return True
            case Override(force=force):
                return force is not Force.OPEN
            case _:
                return False

    @property
    def wants_successes(self) -> bool:
        """Whether the next success can change anything."""
        return not self.breaker.calm

    def failed(self, error: BaseException) -> None:
        """A call over the live link failed. A late one, from before the breaker opened, changes nothing."""
        if self.passes:
            self.breaker.admit().failed(error)
        else:
            self.breaker.stats.late += 1

    def succeeded(self) -> None:
        """A call over the live link got its answer."""
        if self.passes:
            self.breaker.admit().succeeded()

    def refuse(self) -> None:
        """A call was turned away."""
        self.breaker.stats.rejected += 1

    def refusal(self) -> CircuitOpen:
        """What a caller gets who is turned away."""
        state = self.breaker.state
        return self.breaker.rejection() or CircuitOpen(
            self.breaker.service,
            "the circuit breaker is half open, and the service is being tried",
            state=state.name,
            retry_after=TRIAL_GUESS,
            cause=self.breaker.last_error,
        )

    def next_trial(self) -> float:
        """The moment of the next trial, or at which an override ends; infinite while calls pass as usual.

        A moment of the state, never one reckoned from now: on a real clock that would stay ahead for ever.
        """
        match self.breaker.state:
            case Closed():
                return math.inf
            case Open(until=until) | Override(until=until):
                return until
            case HalfOpen(probes=probes) if self.breaker.rejection() is not None:
                return min(until for _permit, until in probes)
            case HalfOpen():
                return -math.inf
            case state:
                assert_never(state)

    def probed(self, *, well: bool, took: float) -> None:
        """A probe, or an attempt to connect, ended *well* or not, after *took* seconds."""
        if not isinstance(self.breaker.state, Open):
            return
        self._saw_trouble = self._saw_trouble or not well or took > SLOW
        if well and self._saw_trouble:
            self.breaker.seen_alive()

    def close(self) -> None:
        """The connection has ended. A breaker that has nothing to tell its next incarnation is forgotten."""
        state = self.breaker.state
        if self.breaker.calm and isinstance(state, Closed) and not state.openings:
            breakers().forget(self._owner)

    def _tell(self, event: Event) -> None:
        if isinstance(event, BreakerChanged) and isinstance(event.old, Closed):
            self._saw_trouble = False
        self._emit(event)
        self._changed()
