"""A published key set (JWKS, RFC 7517), read with suspicion: only public keys, only to verify, none too weak.

Keys for a shared secret (``oct``) are dropped whatever they say, so that no published text can ever serve as the
secret of an HS256 token. A key is bound to the algorithms that fit its type and, if it names one, to that alone.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

import attrs
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from resprout.runtime.errors import ResproutError

MAX_KEYS: Final = 100

ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {
    # The type of key that each needs, and its curve.
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""All that can be asked for. Not among them: ``none``, and HS256 and its like, whose secret signs as well."""

PUBLIC: Final = ("kty", "kid", "n", "e", "crv", "x", "y")
"""What of a key is read; a private part that somebody published by mistake is not kept."""


class BadKeySet(ResproutError):
    """What the URL answered is no key set, or has no key in it that could be used."""


@attrs.frozen
class KeySet:
    """Public keys by key id and algorithm."""

    keys: Mapping[tuple[str | None, str], PyJWK] = attrs.field(repr=False)

    def find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """The key *kid* for *algorithm*. A token without a key id gets the only key there is for it."""
        if kid is not None:
            return self.keys.get((kid, algorithm))
        fitting = [key for (_, name), key in self.keys.items() if name == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    @property
    def ids(self) -> frozenset[str | None]:
        """The ids of all keys."""
        return frozenset(kid for kid, _ in self.keys)


def read_key_set(body: bytes) -> KeySet:
    """The keys in *body* that can be used to verify signatures.

    Raises:
        BadKeySet: It is no key set, or none of its keys can be used.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadKeySet(f"the answer is not JSON: {type(error).__name__}") from error
    published = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(published, list):
        raise BadKeySet('the answer is no key set: it has no list of "keys"')
    if len(published) > MAX_KEYS:
        raise BadKeySet(f"the key set has {len(published)} keys; more than {MAX_KEYS} are not believed")
    keys: dict[tuple[str | None, str], PyJWK] = {}
    for jwk in published:
        for key in _usable(jwk):
            keys.setdefault((jwk.get("kid"), key.algorithm_name), key)
    if not keys:
        raise BadKeySet(f"none of the {len(published)} keys in the key set can be used to verify a signature")
    return KeySet(keys)


def _usable(jwk: object) -> Iterator[PyJWK]:
    """*jwk* once for each algorithm that it may verify."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str | None):
        return
    if jwk.get("use", "sig") != "sig" or "verify" not in _operations(jwk):
        return
    public = {name: jwk[name] for name in PUBLIC if name in jwk}
    for algorithm, (kind, curve) in ALGORITHMS.items():
        fits = jwk.get("kty") == kind and (curve is None or jwk.get("crv") == curve)
        if fits and jwk.get("alg", algorithm) == algorithm:
            try:
                key = PyJWK(public, algorithm)
            except (PyJWTError, ValueError, TypeError, KeyError, ArithmeticError):
                continue  # A key that is broken, or that this cryptography cannot read: no harm to the others.
            if not key.Algorithm.check_key_length(key.key):
                yield key


def _operations(jwk: dict[str, object]) -> list[object]:
    operations = jwk.get("key_ops", ["verify"])
    return operations if isinstance(operations, list) else []
