"""The truth: what Redis, Postgres and the clients really hold, against what the load was told.

Looked up with the plain client libraries, in a thread of its own: resprout is not asked about itself.
"""

import asyncio

import asyncpg
import attrs
import redis
import trio

from examples.chat.demo.books import Books
from examples.chat.demo.load import USERS


@attrs.frozen
class Findings:
    """Broken promises, counted. All are 0."""

    wrong_replies: int
    lost_writes: int
    lost_messages: int
    reordered_messages: int


async def audit(books: Books, redis_url: str, database_url: str) -> Findings:
    """Compare the books with the servers and with what the clients received."""
    lost = await trio.to_thread.run_sync(_lost_in_redis, books, redis_url)
    lost += await trio.to_thread.run_sync(asyncio.run, _lost_in_postgres(books, database_url))
    return Findings(
        wrong_replies=sum(service.wrong for service in books.services.values()),
        lost_writes=lost,
        lost_messages=len(missing_messages(books)),
        reordered_messages=sum(_inversions(got) for got in books.received.values()),
    )


def missing_messages(books: Books) -> list[tuple[str, str]]:
    """Accepted messages that a member has not received: (member, id)."""
    return [
        (user, id)
        for user in USERS
        for id in {id for ids in books.accepted.values() for id in ids}
        - {id for _, id in books.received[user]}
    ]


def _lost_in_redis(books: Books, url: str) -> int:
    with redis.Redis.from_url(url, decode_responses=True) as server:
        keys = list(books.redis_writes)
        held = dict(zip(keys, server.mget(keys) if keys else [], strict=True))
        count = int(server.get("load:count") or 0)
    lost: int = sum(held[key] != value for key, value in books.redis_writes.items())
    return lost + (not books.increments <= count <= books.increments + books.increments_unknown)


async def _lost_in_postgres(books: Books, url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        numbers = {row["n"] for row in await connection.fetch("SELECT n FROM load")}
        messages = {row["id"] for row in await connection.fetch("SELECT id FROM messages")}
    finally:
        await connection.close()  # noqa: ASYNC102 - asyncio in a thread, where nothing cancels.
    accepted = {id for ids in books.accepted.values() for id in ids}
    return len(set(books.postgres_writes) - numbers) + len(accepted - messages)


def _inversions(received: list[tuple[str, str]]) -> int:
    """Messages of one author that came after a later one of the same author."""
    latest: dict[str, int] = {}
    wrong = 0
    for author, id in received:
        number = int(id.rpartition("-")[2])
        wrong += number < latest.get(author, -1)
        latest[author] = max(number, latest.get(author, -1))
    return wrong
