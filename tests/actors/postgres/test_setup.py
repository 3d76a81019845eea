"""What every new connection gets: codecs, settings, a limit of the server's own."""

import json
from functools import partial

import asyncpg
import pytest

from resprout.actors.postgres import WAIT, PostgresClient, PostgresPool, TypeCodec
from resprout.runtime import Name, Unavailable, open_runtime
from resprout.supervisors import child, supervisor
from resprout.testing import LocalServer

DB = Name(PostgresPool, "db")
JSON = TypeCodec(type="jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


@pytest.mark.real
async def test_codecs_and_settings_are_there_on_every_connection_and_after_a_reset_and_an_outage(
    postgres_server: LocalServer,
) -> None:
    pool = partial(
        PostgresPool,
        postgres_server.url,
        max_size=2,
        codecs=[JSON],
        server_settings={"search_path": "app"},
        statement_timeout=0.3,
    )
    db = PostgresClient(DB, on_down=WAIT, timeout=10)
    async with open_runtime(supervisor("app", child("db", pool, name=DB))):
        for outage in range(2):
            async with db.acquire() as one, db.acquire() as two:
                for connection in (one, two):
                    assert await connection.fetchval("SELECT $1::jsonb", {"a": [1, outage]}) == {
                        "a": [1, outage]
                    }
                    assert await connection.fetchval("SHOW search_path") == "app"
                    await connection.execute("SET search_path = elsewhere; SET statement_timeout = 0")
            assert await db.fetchval("SHOW search_path") == "app"
            with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
                await db.execute("SELECT pg_sleep(5)")
            postgres_server.kill()
            await postgres_server.restart()


@pytest.mark.real
async def test_a_codec_for_a_type_that_is_not_there_is_told_and_tried_again(
    postgres_server: LocalServer,
) -> None:
    mood = TypeCodec(type="mood", encoder=str, decoder=str.upper)
    pool = partial(PostgresPool, postgres_server.url, codecs=[mood])
    db = PostgresClient(DB, on_down=WAIT, timeout=1)
    async with open_runtime(supervisor("app", child("db", pool, name=DB))):
        with pytest.raises(Unavailable) as caught:
            await db.fetchval("SELECT 1")
        assert "no codec can be set for the type public.mood" in str(caught.value.cause)
        other = await asyncpg_connect(postgres_server.url)
        assert other == "CREATE TYPE"
        assert await db.fetchval("SELECT 'glad'::mood", timeout=10) == "GLAD"


async def asyncpg_connect(url: str) -> str:
    """Create the type through a pool of its own."""
    admin = Name(PostgresPool, "admin")
    async with open_runtime(supervisor("other", child("db", partial(PostgresPool, url), name=admin))):
        return await PostgresClient(admin, on_down=WAIT).execute("CREATE TYPE mood AS ENUM ('glad')")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_statement_timeout_is_a_positive_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="statement_timeout must be a positive number of seconds"):
        PostgresPool("postgresql://localhost/x", statement_timeout=seconds)
    with pytest.raises(ValueError, match="give it once"):
        PostgresPool(
            "postgresql://localhost/x", statement_timeout=1.0, server_settings={"statement_timeout": "5"}
        )
