"""The registry of circuit breakers: one per service and trio run.

A breaker outlives the actor that uses it: an actor that crashes and restarts finds its breaker as it left it,
so that a crash loop cannot hammer a service that is down. A new process, and a new trio run, starts with all
breakers closed.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final

import trio

from resprout.runtime.breaker import CircuitBreaker, judge
from resprout.runtime.breaker_policy import DEFAULT_BREAKER, BreakerPolicy
from resprout.runtime.breaker_rules import Outcome
from resprout.runtime.events import Event


class Breakers:
    """All breakers of one trio run, by name of the service."""

    def __init__(self) -> None:
        self._by_service: dict[str, CircuitBreaker] = {}

    def get(
        self,
        service: str,
        policy: BreakerPolicy = DEFAULT_BREAKER,
        *,
        random: random.Random,
        emit: Callable[[Event], None],
        actor: str,
        judge: Callable[[BaseException | None], Outcome] = judge,
    ) -> CircuitBreaker:
        """Return the breaker for *service*, made at the first call. Events go to the latest *emit*.

        Raises:
            ValueError: If the breaker exists with another policy: two owners disagree about it.
        """
        breaker = self._by_service.get(service)
        if breaker is None:
            breaker = CircuitBreaker(service, policy, random=random, emit=emit, actor=actor, judge=judge)
            self._by_service[service] = breaker
        elif breaker.policy != policy:
            raise ValueError(f"the breaker {service!r} exists with another policy: {breaker.policy}")
        breaker.emit, breaker.actor, breaker.judge = emit, actor, judge
        return breaker

    def find(self, service: str) -> CircuitBreaker | None:
        """The breaker for *service*, if anybody has made one."""
        return self._by_service.get(service)

    def __iter__(self) -> Iterator[CircuitBreaker]:
        return iter(tuple(self._by_service.values()))


_BREAKERS: Final[trio.lowlevel.RunVar[Breakers]] = trio.lowlevel.RunVar("resprout_breakers")


def breakers() -> Breakers:
    """The registry of this trio run."""
    try:
        return _BREAKERS.get()
    except LookupError:
        _BREAKERS.set(made := Breakers())
        return made
