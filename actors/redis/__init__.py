"""Redis on trio: a connection that is always made again, and redis-py's commands over it."""

from resprout.actors.redis.actor import RedisConnection
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.commands import CommandRefused
from resprout.actors.redis.endpoint import Endpoint, parse_url
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.pipeline import RedisPipeline
from resprout.actors.redis.policy import FAIL_FAST, WAIT, OnDown

__all__ = [
    "FAIL_FAST",
    "WAIT",
    "CommandRefused",
    "Endpoint",
    "LinkLimits",
    "OnDown",
    "RedisClient",
    "RedisConnection",
    "RedisPipeline",
    "parse_url",
]
