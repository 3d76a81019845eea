"""Redis on trio: a connection that is always made again, and redis-py's commands over it."""

try:
    import hiredis as _hiredis  # noqa: F401 - only to say early and clearly that it is missing.
    import redis as _redis  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "resprout.actors.redis needs redis and hiredis: pip install 'resprout[redis]'"
    ) from _error

from resprout.actors.connection.on_down import FAIL_FAST, WAIT, OnDown
from resprout.actors.redis.actor import RedisConnection
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.commands import CommandRefused
from resprout.actors.redis.connect import NoMaster
from resprout.actors.redis.endpoint import Endpoint, parse_url
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.pipeline import RedisPipeline
from resprout.actors.redis.pubsub import MaybeMissed, Message, Subscription
from resprout.actors.redis.refusal import ClusterRefused
from resprout.actors.redis.script import RedisScript
from resprout.actors.redis.transaction import RedisTransaction

__all__ = [
    "FAIL_FAST",
    "WAIT",
    "ClusterRefused",
    "CommandRefused",
    "Endpoint",
    "LinkLimits",
    "MaybeMissed",
    "Message",
    "NoMaster",
    "OnDown",
    "RedisClient",
    "RedisConnection",
    "RedisPipeline",
    "RedisScript",
    "RedisTransaction",
    "Subscription",
    "parse_url",
]
