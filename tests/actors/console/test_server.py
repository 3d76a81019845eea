"""A console in a running tree, asked over its real socket."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from resprout.actors.console import (
    ConsoleServer,
    ConsoleUnavailable,
    CutOffError,
    Listening,
    NoRuntimeError,
    RequestError,
    find_socket,
    render_info,
    render_tree,
    request,
    request_info,
    request_restart,
    request_tree,
)
from resprout.actors.console.wire import Code
from resprout.runtime import Actor, Event, ExitReason, Name, System, open_runtime
from resprout.runtime.recipe import Recipe
from resprout.supervisors import TEMPORARY, child, supervisor

CONSOLE = Name(ConsoleServer, "console")


@attrs.define
class Counter(Actor):
    total: int = 0

    async def add(self) -> int:
        self.total += 1
        return self.total


@attrs.define
class Refusing(Actor):
    """Starts once only."""

    starts = 0

    async def on_start(self) -> None:
        Refusing.starts += 1
        if Refusing.starts > 1:
            raise OSError("no second time")

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.lowlevel.checkpoint()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


def tree(directory: Path, *, app: str | None = None) -> Recipe:
    return supervisor(
        "app",
        child("console", partial(ConsoleServer, app, directory), name=CONSOLE),
        child("counter", Counter),
        supervisor("group", child("inner", Counter)),
        child("once", Counter, restart=TEMPORARY),
    )


@asynccontextmanager
async def console(directory: Path, *, app: str | None = None) -> AsyncIterator[tuple[System, Path]]:
    with trio.fail_after(20):
        async with open_runtime(tree(directory, app=app)) as runtime:
            yield runtime, await opened()


async def opened() -> Path:
    while (place := CONSOLE.offered(Listening)) is None:
        await trio.sleep(0.01)
    return place.path


async def test_the_tree_is_seen_as_it_stands(directory: Path) -> None:
    async with console(directory) as (runtime, path):
        assert path == directory / "app.sock"
        seen = await request_tree(path)
        assert [place.path for place in seen.walk()] == [place.path for place in runtime.snapshot().walk()]
        assert seen.children[1].kind == "Counter"
        assert seen.children[0].facts == {"socket": str(path)}


async def test_a_place_is_described_with_its_dead_letters(directory: Path) -> None:
    async with console(directory) as (runtime, path):
        runtime.ref("app/counter").cast(Counter.add, "one too many")
        await trio.testing.wait_all_tasks_blocked()
        found = await request_info(path, "app/counter")
        assert found.place.path == "app/counter"
        assert found.place.life == "running"


async def test_a_restart_on_request_is_orderly_and_makes_a_new_incarnation(directory: Path) -> None:
    async with console(directory) as (runtime, path):
        counter = runtime.ref("app/counter")
        assert await counter.call(Counter.add) == 1
        answer = await request_restart(path, "app/counter")
        assert (answer.before, answer.after) == (1, 2)
        assert await counter.call(Counter.add) == 1
        assert (await request_info(path, "app/counter")).place.restarts == 0


async def test_a_whole_branch_can_be_restarted(directory: Path) -> None:
    async with console(directory) as (_, path):
        await request_restart(path, "app/group")
        assert (await request_info(path, "app/group/inner")).place.life == "running"


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("app/nobody", Code.NOT_FOUND, "app/nobody"),
        ("app/counter/x", Code.NOT_FOUND, "app/counter/x"),
        ("app", Code.REFUSED, "root"),
        ("../../etc/passwd", Code.NOT_FOUND, "passwd"),
    ],
)
async def test_what_cannot_be_restarted_is_refused_with_the_reason(
    directory: Path, path: str, code: Code, says: str
) -> None:
    async with console(directory) as (_, socket_file):
        with pytest.raises(RequestError, match=says) as caught:
            await request_restart(socket_file, path)
        assert caught.value.code is code


async def test_a_child_that_does_not_start_again_is_an_answer(directory: Path) -> None:
    Refusing.starts = 0
    app = supervisor(
        "app",
        child("console", partial(ConsoleServer, None, directory), name=CONSOLE),
        child("refusing", Refusing),
    )
    with trio.fail_after(20):
        async with open_runtime(app):
            with pytest.raises(RequestError, match="no second time"):
                await request_restart(await opened(), "app/refusing")


async def test_restarting_the_console_itself_works_and_cuts_the_line(directory: Path) -> None:
    async with console(directory) as (_, path):
        with pytest.raises(CutOffError, match="resprout tree"):
            await request_restart(path, "app/console")
        assert await opened() == path
        assert (await request_info(path, "app/console")).place.generation == 2


async def test_only_this_user_can_reach_the_socket(directory: Path) -> None:
    async with console(directory) as (_, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_another_user_who_got_hold_of_the_socket_is_turned_away(directory: Path) -> None:
    code = """
        import os, socket, sys
        os.chdir(sys.argv[1])
        os.setuid(65534)
        client = socket.socket(socket.AF_UNIX)
        client.connect("app.sock")
        try:
            client.sendall(b'{"v": 1, "verb": "tree"}\\n')
            print(len(client.recv(10)))
        except (BrokenPipeError, ConnectionResetError):
            print(0)
    """
    async with console(directory) as (_, path):
        path.chmod(0o666)
        directory.chmod(0o711)
        done = await trio.run_process(
            [sys.executable, "-I", "-c", textwrap.dedent(code), str(directory)], capture_stdout=True
        )
    assert done.stdout.strip() == b"0"


async def test_nothing_stays_but_a_lock_file_nobody_holds(directory: Path) -> None:
    async with console(directory):
        pass
    assert [path.name for path in directory.iterdir()] == ["app.lock"]
    async with console(directory) as (_, path):
        assert path.name == "app.sock"


async def test_a_socket_left_by_a_killed_process_is_replaced(directory: Path) -> None:
    code = f"""
        from functools import partial
        from pathlib import Path
        from resprout.runtime import run
        from resprout.actors.console import ConsoleServer
        from resprout.supervisors import child, supervisor
        run(supervisor("app", child("console", partial(ConsoleServer, None, Path({str(directory)!r})))))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    other = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: ASYNC220 - a test.
    try:
        deadline = time.monotonic() + 15
        while not (directory / "app.sock").exists():
            assert time.monotonic() < deadline
            await trio.sleep(0.02)
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (directory / "app.sock").exists()
    with pytest.raises(NoRuntimeError):
        find_socket(None, directory)
    async with console(directory) as (_, path):
        assert path == directory / "app.sock"
        await request_tree(path)


async def test_a_second_runtime_of_the_same_tree_gets_a_name_with_its_number(directory: Path) -> None:
    async with console(directory) as (_, first):
        async with open_runtime(tree(directory)):
            second = await opened()
            assert second == directory / f"app-{os.getpid()}.sock"
            await request_tree(second)
            with pytest.raises(NoRuntimeError, match="choose one with --app"):
                find_socket(None, directory)
            assert find_socket("app", directory) == first
        await request_tree(first)


async def test_a_name_given_on_purpose_is_waited_for_and_taken_once_it_is_free(directory: Path) -> None:
    events: list[Event] = []
    late = supervisor("late", child("console", partial(ConsoleServer, "app", directory), name=CONSOLE))
    free = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(_hold, directory, free)
        with trio.fail_after(20):
            async with open_runtime(late) as runtime:
                runtime.events.subscribe(events.append)
                while not events:
                    await trio.sleep(0.01)
                assert isinstance(events[0], ConsoleUnavailable)
                assert "another runtime listens" in events[0].why
                assert CONSOLE.offered(Listening) is None
                free.set()
                assert await opened() == directory / "app.sock"


async def _hold(directory: Path, free: trio.Event, task_status: trio.TaskStatus[None]) -> None:
    async with console(directory):
        task_status.started()
        await free.wait()


async def test_a_directory_that_is_not_private_never_keeps_the_tree_from_running(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    with trio.fail_after(20):
        async with open_runtime(tree(directory)) as runtime:
            assert await runtime.ref("app/counter").call(Counter.add) == 1
            directory.chmod(0o700)
            await opened()


async def raw(path: Path, data: bytes) -> list[dict[str, object]]:
    """Send *data*, then the end; read all answers."""
    stream = await trio.open_unix_socket(str(path))
    received = b""
    async with stream:
        try:
            await stream.send_all(data)
            await stream.send_eof()
            async for chunk in stream:
                received += chunk
        except trio.BrokenResourceError:
            pass
    return [json.loads(line) for line in received.splitlines()]


async def test_nonsense_is_answered_with_an_error_and_the_conversation_goes_on(directory: Path) -> None:
    async with console(directory) as (_, path):
        answers = await raw(
            path, b'garbage\n{"v":9,"verb":"tree"}\n{"v":1,"verb":"info","args":{"path":"app"}}\n'
        )
        assert [answer["ok"] for answer in answers] == [False, False, True]


async def test_a_request_without_end_is_refused_before_it_fills_the_memory(directory: Path) -> None:
    async with console(directory) as (_, path):
        answers = await raw(path, b"x" * 1_000_000)
        assert answers == [] or answers[0]["error"]["code"] == "bad_request"
        await request_tree(path)


async def test_a_client_that_goes_away_in_the_middle_harms_nobody(directory: Path) -> None:
    async with console(directory) as (runtime, path):
        for _ in range(20):
            client = await trio.open_unix_socket(str(path))
            await client.send_all(b'{"v":1,"verb":"tree"}\n{"v":1,')
            await trio.aclose_forcefully(client)
        await request_tree(path)
        assert sum(place.restarts for place in runtime.snapshot().walk()) == 0


async def test_too_many_clients_are_turned_away_and_silent_ones_do_not_stop_the_others(
    directory: Path,
) -> None:
    async with console(directory) as (_, path):
        silent = [await trio.open_unix_socket(str(path)) for _ in range(15)]
        await request_tree(path)
        silent.append(await trio.open_unix_socket(str(path)))
        await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(RequestError, match="connected already"):
            await request_tree(path)
        for stream in silent:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        await request_tree(path)


def test_where_nothing_runs_the_error_names_the_place_and_the_next_step(directory: Path) -> None:
    with pytest.raises(NoRuntimeError, match=r"run.*resprout run MODULE:TREE"):
        find_socket(None, directory)
    with pytest.raises(NoRuntimeError, match=r"shop\.sock"):
        find_socket("shop", directory)


async def test_asking_where_nobody_listens_is_a_clear_error(directory: Path) -> None:
    with pytest.raises(NoRuntimeError, match="no runtime answers at"):
        await request(directory / "app.sock", "tree")


@pytest.fixture
def deaf(directory: Path) -> Iterator[Path]:
    """A socket that accepts and never answers."""
    directory.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "app.sock"))
        listener.listen(5)
        yield directory / "app.sock"


async def test_a_runtime_that_does_not_answer_is_a_clear_error(deaf: Path) -> None:
    with pytest.raises(NoRuntimeError, match="did not answer within"):
        await request(deaf, "tree", timeout=0.2)


async def test_a_tree_is_drawn_line_by_line(directory: Path) -> None:
    from rich.console import Console

    async with console(directory) as (_, path):
        screen = Console(width=150, file=open(os.devnull, "w"), record=True)  # noqa: ASYNC230, SIM115 - a test.
        screen.print(render_tree(await request_tree(path)))
        screen.print(render_info(await request_info(path, "app/counter")))
        text = screen.export_text()
    assert "counter  Counter  running" in text
    assert "mailbox" in text
