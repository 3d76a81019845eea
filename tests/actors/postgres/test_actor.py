"""The pool as an actor in a supervised tree, with a Postgres that really dies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from resprout.actors.connection import BackingOff, ConnectionChanged, Ready
from resprout.actors.postgres import WAIT, Census, ConnectionOpened, PoolStatus, PostgresClient, PostgresPool
from resprout.runtime import Event, Name, OutcomeUnknown, ServiceError, Snapshot, Unavailable, open_runtime
from resprout.runtime.lifecycle import ActorRestarting
from resprout.supervisors import DynamicSupervisor, child, supervisor
from resprout.testing import LocalServer

DB = Name(PostgresPool, "db")


@asynccontextmanager
async def tree(pool: "partial[PostgresPool]") -> AsyncIterator[list[Event]]:
    """A supervisor with one pool; yields the events of the runtime."""
    events: list[Event] = []
    async with open_runtime(supervisor("app", child("db", pool, name=DB))) as runtime:
        runtime.events.subscribe(events.append)
        yield events


@pytest.mark.real
async def test_a_killed_postgres_heals_without_any_restart(postgres_server: LocalServer) -> None:
    db = PostgresClient(DB)
    async with tree(partial(PostgresPool, postgres_server.url, max_size=3)) as events:
        await db.using(on_down=WAIT).execute("CREATE TABLE t (id int)")
        for _ in range(2):
            postgres_server.kill()
            with trio.fail_after(15):
                refused = 0
                while refused < 5:
                    try:
                        await db.fetchval("SELECT 1")
                    except ServiceError:
                        refused += 1
                    await trio.sleep(0.01)
                await postgres_server.restart()
                assert await db.using(on_down=WAIT, timeout=10).fetchval("SELECT count(*) FROM t") == 0
        assert [event for event in events if isinstance(event, ActorRestarting)] == []
        changes = [event.new.name for event in events if isinstance(event, ConnectionChanged)]
        assert "backing_off" in changes
        assert changes[-1] == "ready"
        assert any(isinstance(event, ConnectionOpened) and event.actor == "app/db" for event in events)


@pytest.mark.real
async def test_load_through_outages_gets_right_answers_or_typed_errors(postgres_server: LocalServer) -> None:
    db = PostgresClient(DB)
    answered = refused = unknown = wrong = 0
    stop = False

    async def load(number: int) -> None:
        nonlocal answered, refused, unknown, wrong
        while not stop:
            try:
                if await db.fetchval("SELECT $1::int", number) == number:
                    answered += 1
                else:
                    wrong += 1
            except OutcomeUnknown:
                unknown += 1
            except ServiceError:
                refused += 1
                await trio.sleep(0.01)

    async with tree(partial(PostgresPool, postgres_server.url)) as events:
        await db.using(on_down=WAIT).fetchval("SELECT 1")
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(load, number)
            await trio.sleep(0.3)
            postgres_server.freeze()
            await trio.sleep(1.0)
            postgres_server.thaw()
            await trio.sleep(0.3)
            postgres_server.kill()
            await trio.sleep(0.3)
            await postgres_server.restart()
            await db.using(on_down=WAIT, timeout=15).fetchval("SELECT 1")
            before = answered
            await trio.sleep(0.3)
            stop = True
        assert wrong == 0
        assert answered > before
        assert refused
        assert [event for event in events if isinstance(event, ActorRestarting)] == []
        status = await DB.call(PostgresPool.status)
        assert status.connections.size == 10
        assert status.connections.in_use == 0


async def test_starting_does_not_wait_for_postgres_and_the_state_is_visible() -> None:
    async with tree(partial(PostgresPool, "postgresql://nobody@127.0.0.1:1/none")):
        with trio.fail_after(2):
            while not isinstance((await DB.call(PostgresPool.status)).state, BackingOff):
                await trio.sleep(0.01)
        status = await DB.call(PostgresPool.status)
        assert isinstance(status, PoolStatus)
        assert status.connections == Census(empty=10)
        assert status.retry_after is not None
        assert "Refused" in status.last_error
        with pytest.raises(Unavailable):
            await PostgresClient(DB).fetchval("SELECT 1")
        await DB.call(PostgresPool.nudge)


def test_a_wrong_dsn_or_wrong_sizes_are_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="not a DSN"):
        PostgresPool("mysql://x")
    with pytest.raises(ValueError, match="min_size"):
        PostgresPool("postgresql://h/x", min_size=5, max_size=2)
    assert "secret" not in repr(PostgresPool("postgresql://u:secret@h/x"))


@pytest.mark.real
async def test_credentials_come_from_a_function_that_is_asked_each_time(postgres_server: LocalServer) -> None:
    asked = 0

    async def dsn() -> str:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        return postgres_server.url

    async with tree(partial(PostgresPool, dsn)):
        db = PostgresClient(DB, on_down=WAIT)
        assert await db.fetchval("SELECT 1") == 1
        async with db.acquire() as one, db.acquire() as two:
            assert await one.fetchval("SELECT pg_backend_pid()") != await two.fetchval(
                "SELECT pg_backend_pid()"
            )
        assert asked == 2


@pytest.mark.real
async def test_a_stop_lets_statements_in_flight_finish(postgres_server: LocalServer) -> None:
    done: list[object] = []
    async with trio.open_nursery() as nursery:
        async with tree(partial(PostgresPool, postgres_server.url)) as events:
            db = PostgresClient(DB, on_down=WAIT)
            await db.fetchval("SELECT 1")

            async def work() -> None:
                done.append(await db.fetchval("SELECT 7 FROM pg_sleep(0.5)"))

            nursery.start_soon(work)
            await trio.sleep(0.2)
            assert isinstance((await DB.call(PostgresPool.status)).state, Ready)
        assert [event for event in events if isinstance(event, ActorRestarting)] == []
    assert done == [7]


@pytest.mark.real
async def test_each_connection_is_an_actor_whose_end_is_the_connections_and_nobody_elses(
    postgres_server: LocalServer,
) -> None:
    app = supervisor("app", child("db", partial(PostgresPool, postgres_server.url, max_size=3), name=DB))
    async with open_runtime(app) as runtime:
        restarts: list[Event] = []
        runtime.events.subscribe(
            lambda event: restarts.append(event) if isinstance(event, ActorRestarting) else None
        )

        def connections() -> dict[str, Snapshot]:
            found = next(place for place in runtime.snapshot().walk() if place.id == "connections")
            return {each.path: each for each in found.children}

        async def stop(connection: Snapshot) -> None:
            above = runtime.ref(connection.path.rpartition("/")[0])
            await above.call(DynamicSupervisor.terminate_child, connection.id)

        db = PostgresClient(DB, on_down=WAIT, timeout=20)
        await db.fetchval("SELECT 1")
        async with db.acquire() as held:
            assert await held.fetchval("SELECT 1") == 1
            (only,) = connections().values()
            assert only.kind == "PooledConnection"
            assert only.facts["state"] == "in_use"
            assert "test_each_connection" in str(only.facts["holder"])
            async with db.acquire():
                assert len(connections()) == 2
            with pytest.raises(Unavailable):  # Of one that is stopped from outside, its user alone is told.
                async with held.transaction():
                    await stop(only)
                    await held.fetchval("SELECT 2")
        assert only.path not in connections()
        assert await db.fetchval("SELECT 3") == 3
        (other,) = connections().values()
        await stop(other)
        assert await db.fetchval("SELECT 4") == 4
        assert restarts == []
