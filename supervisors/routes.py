"""Which member of a pool a message goes to: pure."""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Key: TypeAlias = int | str | bytes


class Route(enum.Enum):
    """How a pool chooses a member where the caller does not."""

    BY_KEY = "by_key"  # It does not: each message belongs to the member of its key.
    ROUND_ROBIN = "round_robin"  # One after the other.
    LEAST_LOADED = "least_loaded"  # Whoever has the fewest messages in its mailbox and in work.


BY_KEY: Final = Route.BY_KEY
ROUND_ROBIN: Final = Route.ROUND_ROBIN
LEAST_LOADED: Final = Route.LEAST_LOADED


def partition(key: Key, size: int) -> int:
    """The member for *key* among *size*: an int by its absolute value, anything else by a stable hash.

    Not by `hash`: that of a string is another one in each process, so that a key would change its member, and
    what the member keeps in a file or names in a log, with every start.

    >>> partition(-7, 4), partition("ann", 4)
    (3, 1)

    Raises:
        TypeError: *key* is of no type that has a stable hash here.
    """
    if isinstance(key, int):
        return abs(key) % size
    if not isinstance(key, str | bytes):
        raise TypeError(f"a key must be an int, str or bytes, not {key!r:.200}; use its id, or its str()")
    data = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") % size


def round_robin(up: Sequence[bool], turn: int) -> int:
    """The member whose turn it is, the next that is *up*; if none is, the one whose turn it is.

    >>> round_robin([True, False, True], turn=1)
    2
    """
    size = len(up)
    return next(((turn + step) % size for step in range(size) if up[(turn + step) % size]), turn % size)


def least_loaded(up: Sequence[bool], loads: Sequence[int], turn: int) -> int:
    """The member that is *up* with the smallest load; among equals the next in *turn*, so that all get some.

    >>> least_loaded([True, True, True], [3, 1, 1], turn=2)
    2
    """
    size = len(up)
    inturn = ((turn + step) % size for step in range(size))
    return min(inturn, key=lambda at: (not up[at], loads[at]))
