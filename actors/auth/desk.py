"""The desk of an authenticator: verifies tokens behind the breaker, many at a time, each token once at a time.

Callers wait here in their own tasks; the verifier runs in tasks of the authenticator. So a caller that gives up
early takes no answer away from others with the same token, and cannot hide from the breaker that the verifier
hangs: the run goes on to its own deadline and is counted.

While the breaker is not closed a task of the authenticator probes the service, so that nobody has to be the user
who finds out that it is back.
"""

import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

import attrs
import trio

from resprout.actors.auth.grace import Grace, digest
from resprout.actors.auth.policy import AuthPolicy
from resprout.actors.auth.verifier import InvalidToken, Verifier
from resprout.runtime.breaker import CircuitBreaker
from resprout.runtime.breaker_rules import Closed
from resprout.runtime.classify import is_programming_error
from resprout.runtime.errors import (
    DeadlineExceeded,
    PoolExhausted,
    ReplyError,
    Sent,
    ServiceError,
    Unavailable,
)
from resprout.runtime.events import Event

I = TypeVar("I")  # noqa: E741 - the identity a token stands for.

RETRY_AFTER: Final = 1.0  # Seconds, told to callers when the verifier failed and did not say itself.
PROBE_JITTER: Final = 0.1


@attrs.frozen(kw_only=True)
class VerifierFailed(Event):
    """The verifier raised a programming error. Only the callers with this token are affected."""

    level = "error"

    service: str
    error: Exception


@attrs.frozen(kw_only=True)
class GraceUsed(Event):
    """A token passed because it had been verified a while ago; the verifier is away."""

    service: str


class _Flight(Generic[I]):
    """One run of the verifier and everybody who waits for it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.identity: tuple[I] | None = None
        self.error: Exception | None = None


class AuthDesk(Generic[I]):
    """What an `Authenticator` offers; used through `AuthClient`.

    Args:
        verifier: Returns the identity, or raises `InvalidToken`; what else it raises is a failure.
        probe: A cheap call that shows whether the service lives; None asks the verifier about a random token.
        breaker: Guards the verifier.
        policy: Deadlines and bounds.
        spawn: Starts a task that ends with the authenticator.
        random: Source of jitter.
        emit: Takes events.
        actor: Path of the owner.
    """

    def __init__(
        self,
        verifier: Verifier[I],
        probe: Callable[[], Awaitable[object]] | None,
        breaker: CircuitBreaker,
        policy: AuthPolicy,
        *,
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
        random: random.Random,
        emit: Callable[[Event], None],
        actor: str,
    ) -> None:
        self.breaker, self.policy = breaker, policy
        self._verifier, self._probe = verifier, probe
        self._spawn, self._random, self._emit, self._actor = spawn, random, emit, actor
        self._turns = trio.CapacityLimiter(policy.max_concurrent)
        self._flights: dict[bytes, _Flight[I]] = {}
        self._grace: Grace[I] = Grace(policy.grace, policy.cache_size)
        self._tended = False

    async def verify(self, token: str, timeout: float) -> I:
        """Return the identity *token* stands for; see `AuthClient.verify`."""
        if len(token) > self.policy.max_token_chars:
            raise InvalidToken(f"a token has at most {self.policy.max_token_chars} characters")
        key = digest(token)
        flight = self._flights.get(key) or self._start(token, key)
        with trio.move_on_after(timeout):
            await flight.done.wait()
        now = trio.current_time()
        if flight.identity is not None:
            return flight.identity[0]
        error = flight.error or DeadlineExceeded(
            self.breaker.service,
            f"no verdict on the token within {timeout:g} s",
            sent=Sent.MAYBE,
            retry_after=RETRY_AFTER,
        )
        known = self._grace.recall(key, now) if isinstance(error, ServiceError) else None
        if known is None:
            raise error
        self._emit(GraceUsed(actor=self._actor, service=self.breaker.service))
        return known[0]

    def forget(self, token: str) -> None:
        """*token* was revoked: it must not pass unverified any more."""
        key = digest(token)
        self._grace.forget(key)
        self._flights.pop(key, None)  # Its verdict may be from before; only who waits for it already gets it.

    def tend(self) -> None:
        """See to it that the breaker closes again without any user, if it is not closed and nobody does so."""
        if not (self._tended or isinstance(self.breaker.state, Closed)):
            self._tended = True
            self._spawn(self._probe_until_closed)

    def trouble(self) -> str:
        """Why a call now would be refused; empty while calls pass."""
        rejection = self.breaker.rejection()
        return str(rejection) if rejection is not None else ""

    async def check(self) -> None:
        """Find out whether the service lives, also while the breaker is open; closes the breaker if so.

        Raises:
            ServiceError: It does not, or not yet well enough.
        """
        try:
            if self.breaker.rejection() is not None:
                await self._ask()
                self.breaker.seen_alive()
            with self.breaker.admit():
                await self._ask()
        except Exception as error:
            raise self._answer_for(error) from error

    def nudge(self) -> None:
        """Nothing to hasten: `check` itself is what brings the breaker back."""

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """Facts for the tree's snapshot."""
        return {
            "service": self.breaker.service,
            "breaker": self.breaker.state.name,
            "in_work": self._turns.borrowed_tokens,
            "waiting": self._waiting,
        }

    @property
    def _waiting(self) -> int:
        """Tokens whose run waits for its turn; about, as runs that were forgotten are not among the flights."""
        return max(0, len(self._flights) - self._turns.borrowed_tokens)

    def _start(self, token: str, key: bytes) -> _Flight[I]:
        flight: _Flight[I] = _Flight()
        flight.error = self._refusal()
        if flight.error is not None:
            flight.done.set()
            self.tend()  # For one that was opened by something else than a call, such as an operator.
            return flight
        self._flights[key] = flight

        async def fly() -> None:  # A closure, since a task's name shows what it was made of.
            await self._fly(token, key, flight)

        self._spawn(fly)
        return flight

    def _refusal(self) -> Exception | None:
        if self._waiting > self.policy.max_waiting:
            return PoolExhausted(
                self.breaker.service,
                f"{self._waiting} tokens wait to be verified",
                retry_after=self.policy.timeout,
            )
        rejection = self.breaker.rejection()
        self.breaker.stats.rejected += rejection is not None
        return rejection

    async def _fly(self, token: str, key: bytes, flight: _Flight[I]) -> None:
        try:
            async with self._turns:
                flight.identity = (await self._run(self._verifier, token),)
            if self._flights.get(key) is flight:
                self._grace.remember(key, flight.identity[0], trio.current_time())
        except Exception as error:  # noqa: BLE001 - whatever the verifier raises goes to the callers.
            flight.error = self._answer_for(error)
            if isinstance(flight.error, ServiceError):
                self.tend()
            else:
                self._grace.forget(key)
        finally:
            if flight.identity is None and flight.error is None:
                flight.error = Unavailable(
                    self.breaker.service, "the authenticator is being restarted", retry_after=RETRY_AFTER
                )
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.done.set()

    async def _run(self, verifier: Verifier[I], token: str) -> I:
        with self.breaker.admit(), trio.fail_after(self.policy.timeout):
            return await verifier(token)

    def _answer_for(self, error: Exception) -> Exception:
        """The error a caller gets. The token is never in it, unless the verifier put it there."""
        if isinstance(error, ReplyError):
            return error
        kind: type[ServiceError]
        if isinstance(error, trio.TooSlowError | TimeoutError):
            kind, why = DeadlineExceeded, "the verifier took too long"
        elif is_programming_error(error):
            self._emit(VerifierFailed(actor=self._actor, service=self.breaker.service, error=error))
            kind, why = Unavailable, f"the verifier has a bug: {error!r}"
        else:
            kind, why = Unavailable, f"the verifier failed: {error!r}"
        return kind(self.breaker.service, why, cause=error, sent=Sent.MAYBE, retry_after=RETRY_AFTER)

    async def _probe_until_closed(self) -> None:
        try:
            while not isinstance(self.breaker.state, Closed):
                share = self._random.uniform(1 - PROBE_JITTER, 1 + PROBE_JITTER)
                await trio.sleep(self.policy.probe_every * share)
                with suppress(ServiceError):
                    await self.check()
        finally:
            self._tended = False

    async def _ask(self) -> None:
        """Ask the service anything; an answer of whatever kind shows that it lives."""
        with trio.fail_after(self.policy.timeout):
            try:
                if self._probe is not None:
                    await self._probe()
                else:
                    await self._verifier(f"resprout-probe-{secrets.token_hex(16)}")
            except ReplyError as error:
                if isinstance(error, ServiceError):
                    raise
