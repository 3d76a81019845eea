"""The registry of circuit breakers: one per service and trio run.

A breaker outlives the actor that uses it: an actor that crashes and restarts finds its breaker as it left it,
so that a crash loop cannot hammer a service that is down. A new process, and a new trio run, starts with all
breakers closed.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final

import trio

from resprout.runtime.breaker import CircuitBreaker
from resprout.runtime.breaker_judge import Judge
from resprout.runtime.breaker_policy import DEFAULT_BREAKER, BreakerPolicy
from resprout.runtime.breaker_rules import Outcome
from resprout.runtime.events import Event


class Breakers:
    """All breakers of one trio run: those that are shared by the service's name, others by their owner's path."""

    def __init__(self) -> None:
        self._shared: dict[str, CircuitBreaker] = {}
        self._owned: dict[str, CircuitBreaker] = {}

    def get(
        self,
        service: str,
        policy: BreakerPolicy = DEFAULT_BREAKER,
        *,
        random: random.Random | None = None,
        emit: Callable[[Event], None] | None = None,
        actor: str | None = None,
        judge: Judge | None = None,
        judge_result: Callable[[object], Outcome] | None = None,
        owner: str = "",
    ) -> CircuitBreaker:
        """Return the breaker for *service*, made at the first call. See `CircuitBreaker` for the rest.

        An owner that comes back gives *emit*, *actor* and its judges again, and the breaker uses the new ones;
        what is left out stays as it was.

        With an *owner*, the path of an actor, the breaker is that actor's alone, whatever others call their
        service: the next incarnation finds it again. One that comes with another policy gets a new one.

        Raises:
            ValueError: If the breaker is shared and exists with another policy: two owners disagree about it.
        """
        known = self._owned if owner else self._shared
        breaker = known.get(owner or service)
        if breaker is None or (owner and (breaker.policy, breaker.service) != (policy, service)):
            breaker = known[owner or service] = CircuitBreaker(service, policy, random=random)
        elif breaker.policy != policy:
            raise ValueError(
                f"the breaker {service!r} exists with another policy, {breaker.policy}: ask for it with that one"
            )
        breaker.audience.emit = emit or breaker.audience.emit
        breaker.actor = breaker.actor if actor is None else actor
        breaker.judge = judge or breaker.judge
        breaker.judge_result = judge_result or breaker.judge_result
        return breaker

    def find(self, service: str) -> CircuitBreaker | None:
        """The breaker for *service*, if anybody has made one; else the breaker that the actor at that path owns."""
        by_name = (one for one in self._owned.values() if one.service == service)
        return self._shared.get(service) or self._owned.get(service) or next(by_name, None)

    def forget(self, owner: str) -> None:
        """Let go of the breaker that the actor at *owner* has for itself, if it has one."""
        self._owned.pop(owner, None)

    def __iter__(self) -> Iterator[CircuitBreaker]:
        return iter((*self._shared.values(), *self._owned.values()))


_BREAKERS: Final[trio.lowlevel.RunVar[Breakers]] = trio.lowlevel.RunVar("resprout_breakers")


def breakers() -> Breakers:
    """The registry of this trio run."""
    try:
        return _BREAKERS.get()
    except LookupError:
        _BREAKERS.set(made := Breakers())
        return made
