"""Rotation under load: the password changes, new links take over, and no call fails."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from resprout import Event, Name, child, open_runtime, supervisor
from resprout.actors.connection import Connection, LinkReplaced
from resprout.actors.postgres import PostgresClient, PostgresPool
from resprout.actors.redis import WAIT, RedisClient, RedisConnection
from resprout.runtime import Recipe
from resprout.testing.servers import LocalServer

pytestmark = pytest.mark.real

REDIS = Name(RedisConnection, "redis")
POSTGRES = Name(PostgresPool, "postgres")


async def rotate_under_load(
    tree: Recipe, name: Name[RedisConnection] | Name[PostgresPool], call: Callable[[], Awaitable[object]]
) -> int:
    """Rotate three times while twenty tasks call; returns how many calls there were. None may fail."""
    calls, done = 0, False
    events: list[Event] = []

    async def load() -> None:
        nonlocal calls
        while not done:
            await call()
            calls += 1

    async with open_runtime(tree) as runtime:
        runtime.events.subscribe(events.append)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(load)
            while not calls:
                await trio.sleep(0.01)
            for turn in range(3):
                await name.call(Connection.rotate, "new password")
                with trio.fail_after(10):
                    while sum(isinstance(event, LinkReplaced) for event in events) <= turn:
                        await trio.sleep(0.01)
                await trio.sleep(0.1)
            done = True
    return calls


async def test_redis_gets_a_new_password_and_no_command_fails(redis_server: LocalServer) -> None:
    asked: list[str] = []

    def url() -> str:
        asked.append(redis_server.url)
        return redis_server.url

    tree = supervisor("app", child("redis", partial(RedisConnection, url), name=REDIS))
    patient, redis = RedisClient(REDIS, on_down=WAIT), RedisClient(REDIS)

    async def call() -> None:
        await (redis if len(asked) > 1 else patient).incr("n")

    calls = await rotate_under_load(tree, REDIS, call)
    assert len(asked) == 4
    async with open_runtime(tree):
        assert int(await patient.get("n")) == calls  # Each ran once.


async def test_postgres_gets_a_new_password_and_no_statement_fails(postgres_server: LocalServer) -> None:
    asked: list[str] = []

    def dsn() -> str:
        asked.append(postgres_server.url)
        return postgres_server.url

    tree = supervisor("app", child("postgres", partial(PostgresPool, dsn, max_size=3), name=POSTGRES))
    db = PostgresClient(POSTGRES, on_down=WAIT)
    calls = await rotate_under_load(tree, POSTGRES, partial(db.fetchval, "SELECT 1"))
    assert calls > 50
    assert len(asked) >= 4
