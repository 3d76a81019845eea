"""The servers of the test kit keep port and data, and leave nothing behind."""

import time
from pathlib import Path

import pytest
import trio

from resprout.actors.process import procfs
from resprout.testing import LocalServer, postgres_server, redis_server

pytestmark = pytest.mark.real


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
    with pytest.raises(OSError, match="connect"):
        await ask(redis_server, b"PING\r\n")


async def test_postgres_restarts_at_once_after_kill(postgres_server: LocalServer) -> None:
    port = postgres_server.port
    for _ in range(2):
        started = time.perf_counter()
        postgres_server.kill()
        await postgres_server.restart()
        assert time.perf_counter() - started < 5
    assert postgres_server.port == port


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
