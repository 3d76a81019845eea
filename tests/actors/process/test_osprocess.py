"""Processes end with everything they have started, and no signal reaches a stranger."""

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from resprout.actors.process import procfs, users
from resprout.actors.process.osprocess import OsProcess, spawn

pytestmark = pytest.mark.real
Start = Callable[[str], OsProcess]


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Start]:
    """Runs shell scripts and sees their end."""
    started: list[OsProcess] = []

    def start(script: str) -> OsProcess:
        log, env = tmp_path / "log", {"PATH": os.environ["PATH"]}
        started.append(spawn(["sh", "-c", script], env=env, cwd=tmp_path, log=log, who=users.ourselves()))
        return started[-1]

    yield start
    for process in started:
        await process.aclose()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.sleep(0.01)


async def test_the_exit_code_or_the_signal_is_reported_to_all_who_wait(shell: Start) -> None:
    assert await shell("exit 3").wait() == 3
    process, codes = shell("exec sleep 60"), []

    async def wait() -> None:
        codes.append(await process.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        process.signal(signal.SIGKILL)
    assert codes == [-signal.SIGKILL] * 2
    assert not process.signal(signal.SIGTERM)


async def test_output_goes_to_the_log(shell: Start, tmp_path: Path) -> None:
    await shell("echo out; echo err >&2").wait()
    assert (tmp_path / "log").read_text() == "out\nerr\n"


async def test_descendants_with_a_session_of_their_own_are_killed_too(shell: Start) -> None:
    process = shell("setsid sleep 60 & sleep 60 & wait")
    await until(lambda: len(process.family()) == 3)
    members = process.family()
    assert members[0] == process.identity
    await process.aclose()
    await until(lambda: not any(map(procfs.alive, members)))


async def test_the_group_of_a_leader_that_ended_by_itself_is_killed(shell: Start) -> None:
    process = shell("sleep 60 & sleep 0.2")
    await until(lambda: len(process.family()) == 3)
    members = process.family()
    assert await process.wait() == 0
    await until(lambda: not any(map(procfs.alive, members)))


async def test_one_that_ignores_the_request_to_stop_is_killed_in_time(shell: Start, tmp_path: Path) -> None:
    process = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done")
    await until((tmp_path / "log").read_text)
    begun = trio.current_time()
    await process.stop(signal.SIGTERM, within=0.2)
    assert 0.2 <= trio.current_time() - begun < 2
    assert process.returncode == -signal.SIGKILL


async def test_a_frozen_one_can_be_stopped_in_order(shell: Start, tmp_path: Path) -> None:
    process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    await until((tmp_path / "log").read_text)
    process.freeze()
    await process.stop(signal.SIGTERM, within=5)
    assert process.returncode == 7


async def test_cancelling_a_stop_kills(shell: Start) -> None:
    process = shell("trap '' TERM; while :; do sleep 0.05; done")
    with trio.move_on_after(0.1):
        await process.stop(signal.SIGTERM, within=60)
    assert process.returncode is not None


def test_a_signal_never_reaches_a_process_with_another_start_time() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        info = procfs.inspect(process.pid)
        assert info is not None
        stranger = procfs.Identity(process.pid, info.identity.started + 1)
        assert not procfs.send(stranger, signal.SIGKILL)
        assert not procfs.alive(stranger)
        assert process.poll() is None
        assert procfs.send(info.identity, signal.SIGKILL)


def test_a_program_name_with_brackets_does_not_confuse_the_parser(tmp_path: Path) -> None:
    shutil.copy("/bin/sleep", tmp_path / "a) S 1 (b")
    with subprocess.Popen([tmp_path / "a) S 1 (b", "60"]) as process:
        info = procfs.inspect(process.pid)
        process.kill()
    assert info is not None
    assert (info.parent, info.zombie) == (os.getpid(), False)
