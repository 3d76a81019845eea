"""The servers of the test kit keep port and data, and leave nothing behind."""

import asyncio
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import trio

from resprout.actors.process import procfs
from resprout.testing import LocalServer, postgres_server, redis_server, temporary

pytestmark = pytest.mark.real


KILLED_RUN = """
import tempfile, trio
from resprout.actors.process import osprocess
from resprout.testing import redis_server
tempfile.tempdir = {folder!r}
osprocess._dies_with_us = lambda: ()  # As on a machine without setpriv.
async def main():
    async with redis_server() as server:
        print(server.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def sql(server: LocalServer, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(server.url)
        answer: object = await connection.fetchval(statement)
        await connection.close()
        return answer

    return await trio.to_thread.run_sync(lambda: asyncio.run(run()))


async def ask(server: LocalServer, request: bytes) -> bytes:
    stream = await trio.open_tcp_stream(server.host, server.port)
    async with stream:
        await stream.send_all(request)
        return await stream.receive_some(1000)


async def test_redis_keeps_acknowledged_writes_and_its_port_over_kill(redis_server: LocalServer) -> None:
    port, pid = redis_server.port, redis_server.pid
    assert await ask(redis_server, b"SET k v\r\n") == b"+OK\r\n"
    redis_server.kill()
    await redis_server.restart()
    assert (redis_server.port, redis_server.pid != pid) == (port, True)
    assert await ask(redis_server, b"GET k\r\n") == b"$1\r\nv\r\n"


async def test_a_frozen_redis_takes_connections_and_answers_after_the_thaw(redis_server: LocalServer) -> None:
    redis_server.freeze()
    with trio.move_on_after(0.2) as scope:
        await ask(redis_server, b"PING\r\n")
    assert scope.cancelled_caught
    redis_server.thaw()
    assert await ask(redis_server, b"PING\r\n") == b"+PONG\r\n"


async def test_a_killed_server_refuses_connections_within_a_second(redis_server: LocalServer) -> None:
    redis_server.kill()
    with trio.fail_after(1):
        while redis_server.running:
            await trio.sleep(0.01)
    with pytest.raises((OSError, trio.BrokenResourceError)):
        await ask(redis_server, b"PING\r\n")


async def test_postgres_restarts_at_once_after_kill(postgres_server: LocalServer) -> None:
    port = postgres_server.port
    for _ in range(2):
        started = time.perf_counter()
        postgres_server.kill()
        await postgres_server.restart()
        assert time.perf_counter() - started < 5
    assert postgres_server.port == port


async def test_postgres_keeps_committed_rows_over_kill(postgres_server: LocalServer) -> None:
    await sql(postgres_server, "create table t as select 42 as answer")
    postgres_server.kill()
    await postgres_server.restart()
    assert await sql(postgres_server, "select answer from t") == 42


async def test_two_servers_may_start_at_the_same_time() -> None:
    async def run(ports: list[int]) -> None:
        async with postgres_server() as server:
            ports.append(server.port)

    ports: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, ports)
        nursery.start_soon(run, ports)
    assert len(set(ports)) == 2


async def test_what_a_killed_test_run_left_is_swept_away_and_what_lives_is_not(
    passable_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = passable_tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = KILLED_RUN.format(folder=str(tmp_path))
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, [sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
        killed: trio.Process = await nursery.start(run)
        assert killed.stdout is not None
        pid = int(await killed.stdout.receive_some(100))
        killed.kill()
    left = procfs.inspect(pid)
    assert left is not None
    async with redis_server() as alive:
        assert await temporary.sweep(tmp_path) == []  # Too young to judge.
        assert len(await temporary.sweep(tmp_path, older_than=0.0)) == 1
        assert not procfs.alive(left.identity)
        assert await ask(alive, b"PING\r\n") == b"+PONG\r\n"


async def test_nothing_is_left_behind_even_of_frozen_servers() -> None:
    places: list[Path] = []
    async with redis_server() as first, postgres_server() as second:
        first.freeze()
        second.freeze()
        for server in (first, second):
            places.append(server._server.place.path)
            assert procfs.inspect(server.pid) is not None
        pids = [first.pid, second.pid]
    assert [procfs.inspect(pid) for pid in pids] == [None, None]
    assert not any(place.exists() for place in places)
