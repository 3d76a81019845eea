"""Tokens that were verified a short while ago, for the time the verifier is away."""

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

I = TypeVar("I")  # noqa: E741 - the identity a token stands for.


def digest(token: str) -> bytes:
    """What stands for *token* in memory: a memory dump or a console must not give tokens away."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Grace(Generic[I]):
    """Remembers up to *size* identities for *seconds* each; with zero seconds, nothing."""

    def __init__(self, seconds: float, size: int) -> None:
        self._seconds, self._size = seconds, size
        self._known: OrderedDict[bytes, tuple[float, I]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def remember(self, key: bytes, identity: I, now: float) -> None:
        """*key* was verified at the moment *now*."""
        if self._seconds > 0:
            self._known[key] = (now, identity)
            self._known.move_to_end(key)
            if len(self._known) > self._size:
                self._known.popitem(last=False)

    def forget(self, key: bytes) -> None:
        """*key* was refused or revoked: it must not pass again unverified."""
        self._known.pop(key, None)

    def recall(self, key: bytes, now: float) -> tuple[I] | None:
        """The identity of *key*, in a tuple since it may itself be None; None if unknown or too old."""
        known = self._known.get(key)
        if known is None:
            return None
        verified_at, identity = known
        if now - verified_at > self._seconds:
            del self._known[key]
            return None
        return (identity,)
