"""The demo's audit can fail: each promise that is broken on purpose is counted."""

import asyncio

import asyncpg
import pytest
import trio

from examples.chat.demo.audit import Findings, audit
from examples.chat.demo.books import Books
from examples.chat.demo.load import USERS
from examples.chat.demo.report import Report
from resprout.testing import LocalServer

TABLES = "CREATE TABLE load (n bigint); CREATE TABLE messages (id text); INSERT INTO load VALUES (1)"


def honest_books() -> Books:
    books = Books()
    for user in USERS:
        books.received[user] = []
    books.postgres_writes.append(1)
    for name in ("redis", "postgres"):
        books.service(name).good_answer()
    return books


async def prepare(url: str) -> None:
    """For a thread of its own: asyncpg without us."""
    connection = await asyncpg.connect(url)
    await connection.execute(TABLES)
    await connection.close()


@pytest.mark.real
async def test_each_broken_promise_is_counted(
    redis_server: LocalServer, postgres_server: LocalServer
) -> None:
    await trio.to_thread.run_sync(asyncio.run, prepare(postgres_server.url))
    urls = (redis_server.url, postgres_server.url)
    assert await audit(honest_books(), *urls) == Findings(0, 0, 0, 0)

    liar = honest_books()
    liar.redis_writes["load:1"] = "never written"
    liar.postgres_writes.append(2)
    liar.increments = 1
    liar.accepted["user0"].append("user0-1")
    liar.service("redis").wrong = 1
    liar.received["user1"] = [("user0", "user0-7"), ("user0", "user0-3")]
    assert await audit(liar, *urls) == Findings(
        wrong_replies=1, lost_writes=4, lost_messages=len(USERS), reordered_messages=1
    )


def test_any_finding_breaks_the_verdict() -> None:
    kept = Report(honest_books(), Findings(0, 0, 0, 0), 0, 1.0)
    assert kept.kept
    assert not Report(honest_books(), Findings(0, 0, 1, 0), 0, 1.0).kept
    assert not Report(honest_books(), Findings(0, 0, 0, 0), 1, 1.0).kept
    silent = honest_books()
    silent.service("mcp").goes_down()
    assert not Report(silent, Findings(0, 0, 0, 0), 0, 1.0).kept
