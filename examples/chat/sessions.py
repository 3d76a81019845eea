"""Login: session tokens in Redis."""

from examples.chat.names import REDIS
from resprout.actors.auth import RedisSessions
from resprout.actors.redis import RedisClient

ONE_DAY = 86_400.0

sessions = RedisSessions(RedisClient(REDIS, timeout=2.0, idempotent=True), ttl=ONE_DAY)
