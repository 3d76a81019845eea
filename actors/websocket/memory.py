"""How much of its stream one session may hold in memory, so that all together stay within one limit."""

import attrs


@attrs.frozen(kw_only=True)
class MemoryPolicy:
    """Bytes that all sessions together may hold; the tails of the streams stay in the store.

    Attributes:
        max_bytes: In all.
        share: One session may hold at most this part of what is free, so that late comers find room.
    """

    max_bytes: int = 64_000_000
    share: float = 1 / 8


def allowance(own: int, used: int, own_limit: int, policy: MemoryPolicy) -> int:
    """Bytes a session may load now.

    The more is in use, the less one session gets: the "dynamic threshold" of shared-memory switches
    (Choudhury and Hahne, 1998), which needs no fixed quota and never starves anybody for good.

    Args:
        own: What the session holds already.
        used: What all sessions hold.
        own_limit: What one session may hold at most.
        policy: The limit for all.

    >>> policy = MemoryPolicy(max_bytes=64_000_000)
    >>> allowance(0, 0, 1_000_000, policy), allowance(0, 60_000_000, 1_000_000, policy)
    (1000000, 500000)
    >>> allowance(600_000, 60_000_000, 1_000_000, policy)
    0
    """
    fair = int((policy.max_bytes - used) * policy.share)
    return max(0, min(own_limit, fair) - own)
