"""Opaque session tokens in Redis: random, stored as digests, valid for a time, revoked at once.

Redis holds ``prefix + SHA-256(token)`` and the identity. Whoever reads the store, a dump of it or its log finds
no token that could be used.
"""

import hashlib
import math
import secrets
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final, Protocol

import attrs

from resprout.actors.auth.verifier import InvalidToken

TOKEN_BYTES: Final = 32
MAX_TTL: Final = 10 * 365 * 86_400.0


class RedisCommands(Protocol):
    """What sessions need of a Redis client such as `RedisClient`: redis-py's names and meanings."""

    def get(self, name: str) -> Awaitable[bytes | str | None]: ...

    def set(self, name: str, value: str, *, px: timedelta) -> Awaitable[object]: ...

    def delete(self, *names: str) -> Awaitable[object]: ...


@attrs.frozen
class RedisSessions:
    """Issues, verifies and revokes session tokens; a verifier for an `Authenticator`.

    An absent, expired or revoked token is `InvalidToken`. A Redis that cannot be asked raises the client's
    `ServiceError`, and so counts as a failure of the service.

    Attributes:
        redis: A client such as ``RedisClient(REDIS, timeout=2.0)``. Use one that repeats commands whose reply was
            lost (``idempotent=True``): all that is sent here may safely run twice.
        ttl: Seconds for which a new session is valid.
        prefix: Names the keys, so that several kinds of sessions can share one Redis.

    Raises:
        ValueError: If *ttl* is not positive, is more than ten years, or *prefix* is empty.
    """

    redis: RedisCommands = attrs.field(repr=False)
    ttl: float = 7 * 86_400.0
    prefix: str = "session:"

    def __attrs_post_init__(self) -> None:
        _check_ttl(self.ttl)
        if not self.prefix:
            raise ValueError("prefix must not be empty: the keys of sessions need a name of their own")

    async def __call__(self, token: str) -> str:
        """Return the identity *token* was issued for.

        Raises:
            InvalidToken: It was never issued, has expired, or was revoked.
            ServiceError: Redis could not be asked, or not in time.
        """
        found = await self.redis.get(self._key(token))
        if found is None:
            raise InvalidToken
        return _text(found)

    async def probe(self) -> None:
        """Ask Redis for a session that nobody has."""
        await self.redis.get(self._key(secrets.token_urlsafe(TOKEN_BYTES)))

    async def issue(self, identity: str, *, ttl: float | None = None) -> str:
        """Start a session of *identity* and return its token, which is kept nowhere else.

        Args:
            identity: What `__call__` will return for the token.
            ttl: Seconds for which this session is valid instead of the usual time.

        Raises:
            ServiceError: Redis did not confirm the session. Ask again: what may be left of this one is of use
                to nobody, since nobody has its token, and goes away after its time.
            ValueError: If *ttl* is not positive or more than ten years.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        seconds = self.ttl if ttl is None else _check_ttl(ttl)
        await self.redis.set(self._key(token), identity, px=timedelta(seconds=seconds))
        return token

    async def revoke(self, token: str) -> None:
        """End the session of *token*, if there is one. With grace, also tell `AuthClient.forget`.

        Raises:
            ServiceError: Redis did not confirm it: the token may still be valid. Try again.
        """
        await self.redis.delete(self._key(token))

    def _key(self, token: str) -> str:
        return self.prefix + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _text(found: bytes | str) -> str:
    try:
        return found if isinstance(found, str) else found.decode()
    except UnicodeDecodeError as error:
        raise InvalidToken("what is stored for this session is no identity of ours") from error


def _check_ttl(seconds: float) -> float:
    if not (math.isfinite(seconds) and 0.001 <= seconds <= MAX_TTL):
        raise ValueError(f"a session must last from 0.001 s to ten years, not {seconds} s")
    return seconds
