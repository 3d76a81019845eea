"""Who may open a connection: exact lists, as pure rules.

Origin keeps other people's web pages out (a browser always tells the truth about it), Host keeps out DNS
rebinding. Both are compared whole, after case folding where the standards say so: no patterns, no suffixes.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import attrs

SHARE_OF_FILES: Final = 0.75
"""Of the files we may open; the rest is for connections of our own, which a crowd must not keep from coming back."""


def _lowered(names: Iterable[str]) -> frozenset[str]:
    """Host names and schemes have no case."""
    return frozenset(name.lower() for name in names)


@attrs.frozen(kw_only=True)
class Admission:
    """What is let in.

    Attributes:
        hosts: Values of the Host header, such as ``chat.example`` or ``127.0.0.1:8765``.
        origins: Values of the Origin header, such as ``https://chat.example``.
        without_origin: Whether clients that send no Origin are let in. Those are not browsers, and so cannot
            be led here by somebody else's page.
        max_connections: At the same time, in all; a server lets in fewer if it may not open so many files.
        max_per_address: From one network address.
        max_per_user: Sessions of one user.
    """

    hosts: frozenset[str] = attrs.field(converter=_lowered)
    origins: frozenset[str] = attrs.field(default=frozenset(), converter=_lowered)
    without_origin: bool = True
    max_connections: int = 10_000
    max_per_address: int = 1_000
    max_per_user: int = 20


def affordable(admission: Admission) -> Admission:
    """*admission* with no more connections than the operating system lets us have."""
    with suppress(ImportError):  # Not on Windows, which has no such limit.
        import resource

        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            most = min(admission.max_connections, int(files * SHARE_OF_FILES))
            return attrs.evolve(admission, max_connections=most)
    return admission


def objection(admission: Admission, host: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Why a request must be turned away; None if it may come in.

    >>> rules = Admission(hosts={"chat.example"}, origins={"https://chat.example"})
    >>> objection(rules, "chat.example", [(b"origin", b"https://chat.example")])
    >>> objection(rules, "chat.example", [(b"origin", b"https://chat.example.evil.example")])
    'origin not allowed'
    >>> objection(rules, "evil.example", [])
    'host not allowed'
    """
    if host.lower() not in admission.hosts:
        return "host not allowed"
    origins = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"origin"]
    if not origins:
        return None if admission.without_origin else "origin missing"
    if len(origins) > 1 or origins[0] not in admission.origins:
        return "origin not allowed"
    return None


@attrs.define
class Guests:
    """Counts who is here."""

    admission: Admission
    total: int = 0
    _by_address: Counter[str] = attrs.field(factory=Counter, init=False)
    _by_user: Counter[str] = attrs.field(factory=Counter, init=False)

    def enter(self, address: str) -> bool:
        """Count one more connection; False, and not counted, if there are too many."""
        limits = self.admission
        if self.total >= limits.max_connections or self._by_address[address] >= limits.max_per_address:
            return False
        self.total += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that entered is gone."""
        self.total -= 1
        self._by_address = without(self._by_address, address)

    def sit(self, user: str) -> bool:
        """Count one more session of *user*; False, and not counted, if there are too many."""
        if self._by_user[user] >= self.admission.max_per_user:
            return False
        self._by_user[user] += 1
        return True

    def rise(self, user: str) -> None:
        """A session that was counted is over."""
        self._by_user = without(self._by_user, user)


def without(counter: Counter[str], key: str) -> Counter[str]:
    """One less of *key*; nothing is kept for those who are gone."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
    return counter
