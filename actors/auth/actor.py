"""The actor that verifies tokens: `Authenticator`."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs

from resprout.actors.auth.desk import AuthDesk
from resprout.actors.auth.policy import DEFAULT_AUTH, AuthPolicy
from resprout.actors.auth.verifier import Probing, Verifier
from resprout.runtime.actor import Actor
from resprout.runtime.breakers import breakers

I = TypeVar("I")  # noqa: E741 - the identity a token stands for.


@attrs.define
class Authenticator(Actor, Generic[I]):
    """Verifies tokens through *verifier*, behind a circuit breaker that outlives this actor's restarts.

    Application code asks through `AuthClient`, not through the mailbox: any number of verifications run at
    one time, up to `policy.max_concurrent`.

    Attributes:
        verifier: ``await verifier(token)`` returns the identity, or raises `InvalidToken` if the service said
            no, which counts as a success of the service. Whatever else it raises counts as a failure.
        probe: A cheap call that shows whether the service lives; None takes the verifier's own ``probe()`` if it
            has one, and else asks it about a random token.
        policy: Deadlines, breaker, bounds, and for how long known tokens pass while the service is away.
        service: Name in errors, events and metrics, and of the breaker.
    """

    verifier: Verifier[I] = attrs.field(repr=False)
    probe: Callable[[], Awaitable[object]] | None = attrs.field(default=None, repr=False)
    policy: AuthPolicy = DEFAULT_AUTH
    service: str = "auth"

    async def on_start(self) -> None:
        context = self.context
        breaker = breakers().get(
            self.service,
            self.policy.breaker,
            random=context.random,
            emit=context.emit,
            actor=context.path,
        )
        own_probe = self.verifier.probe if isinstance(self.verifier, Probing) else None
        desk: AuthDesk[I] = AuthDesk(
            self.verifier,
            self.probe or own_probe,
            breaker,
            self.policy,
            spawn=context.start_soon,
            random=context.random,
            emit=context.emit,
            actor=context.path,
        )
        context.offer(desk)
        desk.tend()  # The breaker may have been open when the incarnation before crashed.
