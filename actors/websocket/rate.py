"""How many frames a client may send: a token bucket, as a pure rule."""

import attrs


@attrs.frozen(kw_only=True)
class RateLimit:
    """*per_second* frames on average, *burst* of them at once."""

    per_second: float = 1_000.0
    burst: int = 2_000


@attrs.frozen
class Bucket:
    """*tokens* were left at time *at*."""

    tokens: float
    at: float


def spend(bucket: Bucket, now: float, limit: RateLimit) -> Bucket | None:
    """Pay for one frame at *now*; None if the client sends too fast.

    >>> limit = RateLimit(per_second=10, burst=2)
    >>> first = spend(Bucket(2, at=0.0), 0.0, limit)
    >>> second = spend(first, 0.0, limit)
    >>> spend(second, 0.0, limit), spend(second, 0.1, limit)
    (None, Bucket(tokens=0.0, at=0.1))
    """
    tokens = min(limit.burst, bucket.tokens + (now - bucket.at) * limit.per_second)
    return Bucket(tokens - 1, now) if tokens >= 1 else None
