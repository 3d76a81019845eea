"""Servers start, keep port and data, and leave nothing behind, whatever happens to them or their parent."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from resprout.actors.process import (
    HttpAnswers,
    Runs,
    Server,
    ServerRecipe,
    ServerStartFailed,
    UserError,
    command,
    postgres,
    procfs,
    redis,
)
from resprout.actors.process.ports import free_port, is_free

pytestmark = pytest.mark.real
Make = Callable[..., Server]


@pytest.fixture
async def make(reachable_path: Path) -> AsyncIterator[Make]:
    """Makes servers that are closed in the end; all in one directory."""
    made: list[Server] = []

    def make_one(recipe: ServerRecipe, port: int = 0) -> Server:
        made.append(Server(recipe, reachable_path / recipe.service, port=port))
        return made[-1]

    yield make_one
    for server in made:
        await server.aclose()


async def said(port: int, request: bytes) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        return bytes(await stream.receive_some(1000))


async def test_a_stopped_redis_comes_back_at_its_port_with_its_data(make: Make) -> None:
    first = make(redis())
    before = await first.start()
    assert before.url == f"redis://127.0.0.1:{before.port}/0"
    await said(before.port, b"SET k v\r\n")
    await first.stop()
    assert procfs.inspect(before.pid) is None
    second = make(redis())  # As the next incarnation of an actor: it knows the directory alone.
    assert (await second.start()).port == before.port
    assert await said(before.port, b"GET k\r\n") == b"$1\r\nv\r\n"
    assert second.cleared == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
async def test_as_root_the_server_and_its_files_belong_to_nobody(make: Make) -> None:
    for recipe in (redis(), postgres(durable=False)):
        server = make(recipe)
        pid = (await server.start()).pid
        status = Path(f"/proc/{pid}/status").read_text()
        assert "\nUid:\t65534\t65534\t65534\t65534\n" in status
        assert "\nGroups:\t \n" in status or "\nGroups:\t\n" in status
        assert server.place.data.stat().st_uid == 65534
        assert (server.place.path / "pid").stat().st_uid == 0


async def test_postgres_survives_a_kill_of_its_first_process_alone(make: Make) -> None:
    server = make(postgres(durable=False))
    endpoint = await server.start()
    family = procfs.family(endpoint.pid)
    os.kill(endpoint.pid, signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL
    await server.aclose()
    with trio.fail_after(1):  # What has let go of all it held may still be on its way out.
        while any(map(procfs.alive, family)):
            await trio.sleep(0.001)
    assert (await server.start()).port == endpoint.port


@pytest.mark.parametrize("words", [("true",), ("sleep", "60")], ids=["ended but not reaped", "a stranger"])
async def test_postgres_starts_though_the_number_of_its_killed_predecessor_is_taken(
    make: Make, words: tuple[str, ...]
) -> None:
    server = make(postgres(durable=False))
    await server.start()
    await server.stop()
    user = 65534 if os.geteuid() == 0 else None  # As Postgres: it does not mind processes of others.
    with subprocess.Popen(words, user=user) as taken:  # noqa: ASYNC220 - it does not wait.
        note = server.place.data / "pgdata/postmaster.pid"
        note.write_text(f"{taken.pid}\n{note.parent}\n1\n5432\n\n127.0.0.1\n\n")
        if user is not None:
            os.chown(note, user, user)
        try:
            await trio.sleep(0.1)
            await server.start()
        finally:
            taken.kill()


async def test_a_half_made_data_directory_is_made_again(make: Make) -> None:
    server = make(postgres(durable=False))
    with trio.move_on_after(0.15):  # In the middle of initdb.
        await server.start()
    assert not (server.place.data / "pgdata").exists()
    leftovers = [info for info in procfs.everyone() if str(server.place.path) in cmdline(info.identity.pid)]
    assert leftovers == []
    await server.start()


def cmdline(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


async def test_any_command_can_serve(make: Make) -> None:
    recipe = command(
        [sys.executable, "-m", "http.server", "{port}", "--bind", "{host}"],
        ready=HttpAnswers(),
        service="files",
    )
    endpoint = await make(recipe).start()
    assert endpoint.url == f"http://127.0.0.1:{endpoint.port}"
    assert b"HTTP/1.0 200 OK" in await said(endpoint.port, b"GET / HTTP/1.0\r\n\r\n")


async def test_what_a_failing_server_said_is_in_the_error(make: Make) -> None:
    server = make(command(["sh", "-c", "echo the disk is full >&2; exit 3"], service="broken"))
    with pytest.raises(ServerStartFailed) as caught:
        await server.start()
    assert str(caught.value) == "broken did not start: it ended with code 3; it said:\nthe disk is full"


async def test_a_server_that_never_answers_is_killed_after_its_time(make: Make) -> None:
    server = make(command(["sh", "-c", "echo $$; exec sleep 60"], start_within=0.3))
    with pytest.raises(ServerStartFailed, match=r"no good answer within 0\.3 s") as caught:
        await server.start()
    assert procfs.inspect(int(caught.value.output)) is None


async def test_a_start_that_is_cancelled_leaves_nothing(make: Make) -> None:
    server = make(command(["sh", "-c", "echo $$; sleep 60 & sleep 60"]))
    with trio.move_on_after(0.3):
        await server.start()
    assert server.process is None
    assert procfs.inspect(int(server.tail())) is None
    assert list((server.place.path).glob("pid*")) == []
    await make(command(["sleep", "60"], service="sh", ready=Runs())).start()  # Its place is free.


async def test_a_given_port_in_use_is_a_clear_error(make: Make) -> None:
    with socket.create_server(("127.0.0.1", free_port("127.0.0.1"))) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServerStartFailed, match=f"port {port} is in use by another program"):
            await make(redis(), port=port).start()


async def test_a_remembered_port_taken_meanwhile_is_replaced(make: Make) -> None:
    server = make(redis())
    port = (await server.start()).port
    await server.stop()
    with socket.create_server(("127.0.0.1", port)):
        assert (await make(redis()).start()).port != port


async def test_a_running_server_is_not_started_twice(make: Make) -> None:
    server = make(command(["sleep", "60"], ready=Runs()))
    await server.start()
    with pytest.raises(RuntimeError, match="already"):
        await server.start()
    assert server.process is not None
    assert server.process.returncode is None


def test_ports_lie_outside_the_range_of_clients() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for _ in range(20):
        port = free_port("127.0.0.1")
        assert not first <= port <= last
        assert is_free("127.0.0.1", port)


PARENT = """
import sys, trio
from pathlib import Path
from resprout.actors.process import Server, osprocess, redis
if "survive" in sys.argv:
    osprocess._dies_with_us = lambda: ()  # As on a machine without setpriv.
async def main():
    server = Server(redis(), Path(sys.argv[1]))
    print((await server.start()).pid, flush=True)
    await trio.sleep_forever()
trio.run(main)
"""


async def killed_parent(directory: Path, *options: str) -> int:
    """Start a parent with a server, kill the parent with SIGKILL, return the server's pid."""
    argv = [sys.executable, "-c", PARENT, str(directory), *options]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, argv, stdout=subprocess.PIPE, check=False)
        parent: trio.Process = await nursery.start(run)
        assert parent.stdout is not None
        pid = int(await parent.stdout.receive_some(100))
        parent.kill()
    return pid


async def test_after_the_parent_is_killed_the_next_start_kills_the_leftover_and_works(make: Make) -> None:
    server = make(redis())
    pid = await killed_parent(server.place.path, "survive")
    left = procfs.inspect(pid)
    assert left is not None
    assert not left.zombie
    endpoint = await server.start()
    assert server.cleared == (left.identity,)
    assert not procfs.alive(left.identity)
    assert await said(endpoint.port, b"PING\r\n") == b"+PONG\r\n"


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
async def test_where_the_kernel_helps_the_server_dies_with_its_killed_parent(make: Make) -> None:
    pid = await killed_parent(make(redis()).place.path)
    with trio.fail_after(5):
        while (info := procfs.inspect(pid)) is not None and not info.zombie:
            await trio.sleep(0.01)


PLAIN_USER = """
import os, sys, trio
from pathlib import Path
import resprout.testing, encodings.idna
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from resprout.testing import postgres_server, redis_server
async def main():
    async with redis_server() as redis, postgres_server() as postgres:
        redis.kill()
        await redis.restart()
        print(open(f"/proc/{redis.pid}/status").read().split("Uid:")[1].split()[0], postgres.url)
trio.run(main)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs all the other tests as it is")
async def test_a_plain_user_needs_nothing_special(tmp_path: Path) -> None:
    ran = await trio.run_process(
        [sys.executable, "-c", PLAIN_USER],
        capture_stdout=True,
        cwd="/",
        env={**os.environ, "HOME": "/nonexistent"},
    )
    assert ran.stdout.startswith(b"65534 postgresql://")


async def test_the_user_of_a_command_is_ours_unless_told() -> None:
    with pytest.raises(UserError):
        await Server(command(["sleep", "1"]), Path("/nowhere"), user="nosuchuser").start()
