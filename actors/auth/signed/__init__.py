"""Signed tokens (JWT), verified with the public keys that a URL publishes and that are kept through outages."""

try:
    import cryptography as _cryptography  # noqa: F401 - only to name the extra if one is missing.
    import httpx2 as _httpx  # noqa: F401
    import jwt as _jwt  # noqa: F401
except ModuleNotFoundError as _error:
    raise ImportError(
        "resprout.actors.auth.signed needs PyJWT, cryptography and httpx2: pip install 'resprout[auth]'"
    ) from _error

from resprout.actors.auth.signed.connection import JwksConnection
from resprout.actors.auth.signed.fetch import FetchRefused
from resprout.actors.auth.signed.keyset import BadKeySet
from resprout.actors.auth.signed.ring import KeyRing, KeysPolicy
from resprout.actors.auth.signed.tokens import Claims, SignedTokens

__all__ = [
    "BadKeySet",
    "Claims",
    "FetchRefused",
    "JwksConnection",
    "KeyRing",
    "KeysPolicy",
    "SignedTokens",
]
