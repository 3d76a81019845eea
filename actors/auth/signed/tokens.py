"""The verifier of signed tokens: `SignedTokens`."""

import math
from collections.abc import Collection, Mapping
from typing import Final

import attrs
import jwt
from jwt import PyJWK

from resprout.actors.auth.signed.connection import JwksConnection
from resprout.actors.auth.signed.keyset import ALGORITHMS
from resprout.actors.auth.signed.ring import KeyRing
from resprout.actors.auth.verifier import InvalidToken
from resprout.runtime.errors import Unavailable
from resprout.runtime.ref import Address

REQUIRED: Final = ("exp", "iss", "aud", "sub")
MAX_LEEWAY: Final = 300.0
RESTART_WAIT: Final = 0.25  # Seconds after which a restarting connection is usually back.


@attrs.frozen
class Claims:
    """What a token says, after its signature, issuer, audience and times were found good.

    Attributes:
        subject: Whom it stands for.
        issuer: Who says so.
        expires_at: Until when, in seconds since 1970.
        all: Every claim, as JSON values.
    """

    subject: str
    issuer: str
    expires_at: float
    all: Mapping[str, object] = attrs.field(repr=False)


def _as_set(names: str | Collection[str]) -> frozenset[str]:
    return frozenset((names,)) if isinstance(names, str) else frozenset(names)


@attrs.frozen(kw_only=True)
class SignedTokens:
    """Verifies signed tokens (JWT) for an `Authenticator`, with the keys of a `JwksConnection`.

    A token passes if it is signed by a key of the issuer with an allowed algorithm, has not expired, and is from
    *issuer* for *audience*. Everything else about a token, however odd, is `InvalidToken`.

    Attributes:
        keys: Name or ref of the `JwksConnection`.
        audience: Who we are: one of these must be in the token's ``aud``.
        issuer: Whose tokens we take: the token's ``iss`` must be one of these.
        algorithms: Signatures that are accepted, of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512
            and EdDSA. ``none`` and the HS family cannot be allowed.
        leeway: Seconds by which our clock and the issuer's may differ.

    Raises:
        ValueError: If an algorithm cannot be allowed, no algorithm, audience or issuer is given, or *leeway* is
            negative or more than five minutes.
    """

    keys: Address[JwksConnection] = attrs.field(repr=False)
    audience: frozenset[str] = attrs.field(converter=_as_set)
    issuer: frozenset[str] = attrs.field(converter=_as_set)
    algorithms: frozenset[str] = attrs.field(default=frozenset(("RS256",)), converter=_as_set)
    leeway: float = 10.0

    def __attrs_post_init__(self) -> None:
        for name in ("audience", "issuer", "algorithms"):
            if not all(getattr(self, name) or [""]):
                raise ValueError(f"{name} must name at least one, and none by an empty text")
        if refused := sorted(self.algorithms - ALGORITHMS.keys()):
            raise ValueError(
                f"not an algorithm for tokens with published keys: {', '.join(refused)};"
                f" choose among {', '.join(ALGORITHMS)}"
            )
        if not (math.isfinite(self.leeway) and 0 <= self.leeway <= MAX_LEEWAY):
            raise ValueError(f"leeway must be from 0 to {MAX_LEEWAY:g} s, not {self.leeway}")

    async def __call__(self, token: str) -> Claims:
        """Return what *token* says.

        Raises:
            InvalidToken: It is not to be believed.
            CircuitOpen: It names a key that is not known, and new keys cannot be fetched now.
            Unavailable: No keys are known, or they are too old.
        """
        kid, algorithm = self._read_header(token)
        return self._read_claims(token, await self._ring().find(kid, algorithm), algorithm)

    async def probe(self) -> None:
        """Whether there are keys."""
        await self._ring().check()

    def _ring(self) -> KeyRing:
        ring = self.keys.offered(KeyRing)
        if ring is None:
            raise Unavailable(
                self.keys.path, "its actor is being restarted", state="restarting", retry_after=RESTART_WAIT
            )
        return ring

    def _read_header(self, token: str) -> tuple[str | None, str]:
        """The key id and the algorithm; nothing of it is to be believed, but the algorithm is an allowed one."""
        try:
            header = jwt.get_unverified_header(token)
        except Exception as error:
            raise InvalidToken("the token is no JWT") from error
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self.algorithms:
            raise InvalidToken("the token is not signed with an algorithm that is allowed")
        if "crit" in header or not isinstance(kid, str | None):
            raise InvalidToken("the token asks for something that is not supported here")
        return kid, algorithm

    def _read_claims(self, token: str, key: PyJWK, algorithm: str) -> Claims:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.leeway,
                options={"require": list(REQUIRED)},
            )
            return Claims(claims["sub"], claims["iss"], float(claims["exp"]), claims)
        except jwt.ExpiredSignatureError as error:
            raise InvalidToken("the token has expired") from error
        except Exception as error:  # Of a token from outside nothing is a bug of ours: see the property test.
            raise InvalidToken(f"the token is not valid: {type(error).__name__}") from error
