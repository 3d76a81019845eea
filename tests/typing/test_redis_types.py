"""What type checkers see of the Redis client: the async results of redis-py."""

from collections.abc import Awaitable
from typing import Any, assert_type

from resprout.actors.redis import RedisClient, RedisConnection, RedisPipeline, RedisScript
from resprout.runtime import Name, Ref

REDIS = Name(RedisConnection, "redis")


async def what_users_see(redis: RedisClient, ref: Ref[RedisConnection]) -> None:
    assert_type(await redis.get("k"), bytes | str | None)
    assert_type(await redis.incr("n"), int)
    assert_type(redis.incr("n"), Awaitable[int])
    assert_type(await redis.exists("a", "b"), int)
    assert_type(await redis.hgetall("h"), dict[bytes | str, bytes | str])
    assert_type(await redis.set("k", "v", ex=3), bool | str | bytes | None)
    assert_type(redis.using(idempotent=True, timeout=1.0), RedisClient)
    assert_type(redis.pipeline(), RedisPipeline)
    assert_type(await redis.pipeline().execute(), list[Any])
    assert_type(redis.register_script("return 1"), RedisScript)
    RedisClient(REDIS)
    RedisClient(ref)
    async for key in redis.scan_iter("user:*"):
        assert_type(key, Any)


def test_the_types_are_checked_by_mypy_and_pyright() -> None:
    """Nothing to run: `make types` reads this file."""
    assert what_users_see is not None
