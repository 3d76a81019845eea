"""Login: session tokens in Redis."""

import secrets

from examples.chat.names import REDIS
from resprout.actors.auth import InvalidToken
from resprout.actors.redis import RedisClient

ONE_DAY = 86_400

redis = RedisClient(REDIS, decode_responses=True, timeout=2.0)


async def log_in(user: str) -> str:
    """Give *user* a session; returns its token."""
    token = secrets.token_urlsafe(16)
    await redis.set(f"session:{token}", user, ex=ONE_DAY)
    return token


async def verify_session(token: str) -> str:
    """The user whose session *token* is. Raises `InvalidToken`, or a `ServiceError` while Redis is away."""
    user = await redis.get(f"session:{token}")
    if user is None:
        raise InvalidToken("no such session; log in again")
    return str(user)
