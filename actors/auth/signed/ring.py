"""The key ring: what a `JwksConnection` offers. It has the keys, for a bounded time also while their URL is away.

Callers never wait for the URL while the keys are known. A token with an unknown key id may be of a new key, so it
makes the keys be fetched anew; but anybody can make up key ids, so that happens at most once in a while, for all
callers together, and says nothing about whether the service is well.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import attrs
import trio
from jwt import PyJWK

from resprout.actors.auth.signed.keyset import KeySet
from resprout.actors.auth.verifier import InvalidToken
from resprout.actors.connection import Connecting, Gate, Link
from resprout.runtime.errors import CircuitOpen, ServiceError, Unavailable


@attrs.frozen(kw_only=True)
class KeysPolicy:
    """How long keys are used, and how often they are fetched besides the regular refresh.

    Attributes:
        keep_for: Seconds for which keys are used without the URL confirming them. A key that the issuer withdrew
            may be used for as long, if an outage or an attacker keeps the URL from us.
        refetch_every: Seconds between two fetches that unknown key ids cause.
        wait: Seconds a caller waits at most for keys that are being fetched.
        max_bytes: Size of a key set that is still read.

    Raises:
        ValueError: If a number is not positive or not finite.
    """

    keep_for: float = 6 * 3600.0
    refetch_every: float = 10.0
    wait: float = 3.0
    max_bytes: int = 256 * 1024

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive, finite number, not {value}")


DEFAULT_KEYS: Final = KeysPolicy()
SOON: Final = 0.1  # Seconds; the least that callers are told to wait.


@attrs.define
class Known:
    """The last key set that the URL gave, and when; outlives the actor's restarts.

    Attributes:
        keys: None before the first.
        confirmed_at: When the URL last gave them, on the trio clock.
    """

    keys: KeySet | None = None
    confirmed_at: float = -math.inf


class KeyRing:
    """The keys at one URL. Verifiers such as `SignedTokens` use it in their callers' tasks.

    Attributes:
        gate: The connection to the URL.
        known: The keys and their age.
    """

    def __init__(
        self,
        gate: Gate[Link],
        known: Known,
        policy: KeysPolicy,
        *,
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self.gate, self.known, self.policy = gate, known, policy
        self._spawn = spawn
        self._asked_at = -math.inf
        self._fetched = trio.Event()
        self._fetching = False

    @property
    def age(self) -> float:
        """Seconds since the URL last confirmed the keys; infinite if it never did."""
        return trio.current_time() - self.known.confirmed_at

    def keys(self) -> KeySet:
        """The keys.

        Raises:
            Unavailable: There are none yet, or they are too old.
        """
        if self.known.keys is not None and self.age <= self.policy.keep_for:
            return self.known.keys
        refusal = self.gate.refusal()
        why = (
            "there are no keys yet"
            if self.known.keys is None
            else f"the keys were last confirmed {self.age:.0f} s ago, too long to be used"
        )
        raise Unavailable(
            self.gate.service,
            f"{why} ({refusal})",
            state=refusal.state,
            retry_after=refusal.retry_after,
            cause=refusal.cause,
        )

    async def find(self, kid: str | None, algorithm: str) -> PyJWK:
        """The key *kid* for *algorithm*.

        Raises:
            InvalidToken: The key is for another algorithm, or the URL was asked just now and has no such key.
            CircuitOpen: No such key is known, and the URL cannot be asked now.
            Unavailable: No keys are known, or they are too old.
        """
        await self._wait_for_first_keys()
        keys = self.keys()
        key = keys.find(kid, algorithm)
        if key is None and kid in keys.ids:
            raise InvalidToken("the key that the token names is not for its algorithm")
        if key is None and self.age > self.policy.refetch_every:
            await self._fetch_anew()
            key = self.keys().find(kid, algorithm)
        if key is not None:
            return key
        if self.age <= self.policy.refetch_every:
            raise InvalidToken("no key of the issuer has the id that the token names")
        raise CircuitOpen(
            self.gate.service,
            "the token names a key that is not known, and new keys cannot be fetched now",
            state=self.gate.state.name,
            retry_after=max(SOON, self._asked_at + self.policy.refetch_every - trio.current_time()),
            cause=self.gate.last_error,
        )

    async def _wait_for_first_keys(self) -> None:
        """Wait a moment at the start of the program; but an outage is told at once."""
        await trio.lowlevel.checkpoint()
        if self.known.keys is None and isinstance(self.gate.state, Connecting):
            with suppress(ServiceError):
                await self.gate.wait_link(trio.current_time() + self.policy.wait)

    async def _fetch_anew(self) -> None:
        """Have the keys fetched, or wait for a fetch that others caused; nothing if one was tried just now."""
        now = trio.current_time()
        if not self._fetching and now - self._asked_at >= self.policy.refetch_every:
            self._asked_at, self._fetching, self._fetched = now, True, trio.Event()
            self._spawn(self._fetch)
        if self._fetching:
            with trio.move_on_after(self.policy.wait):
                await self._fetched.wait()

    async def _fetch(self) -> None:
        try:
            with suppress(ServiceError):
                await self.gate.check()
        finally:
            self._fetching = False
            self._fetched.set()

    # What the health monitor and the console use.

    def trouble(self) -> str:
        """Why tokens cannot be verified now; empty while they can, though the URL may be away."""
        try:
            self.keys()
        except Unavailable as error:
            return str(error)
        return ""

    async def check(self) -> None:
        """Fetch the keys if the regular refresh is overdue.

        Raises:
            Unavailable: There are no keys that may be used.
        """
        refresh = self.gate.policy.probe_every * (1 + self.gate.policy.probe_jitter)
        if self.age > refresh + self.gate.policy.probe_timeout:
            with suppress(ServiceError):
                await self.gate.check()
        await trio.lowlevel.checkpoint()
        self.keys()

    def nudge(self) -> None:
        """Try to reach the URL now rather than later."""
        self.gate.nudge()

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """Facts for the tree's snapshot."""
        facts = self.gate.describe()
        if self.known.keys is not None:
            facts |= {"keys": len(self.known.keys.ids), "keys_age": round(self.age, 1)}
        return facts
