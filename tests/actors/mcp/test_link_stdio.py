"""A session over stdio with a real server process, and everything that can happen to it."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import trio

from resprout.actors.mcp.errors import CannotStart, NotAnswered, SessionLost
from resprout.actors.mcp.link import open_link
from resprout.actors.mcp.servers import Revision, Stdio
from resprout.runtime.errors import Sent
from tests.actors.mcp.mcp_servers import is_running, number, script, session, tiny, tool, wait_gone

pytestmark = pytest.mark.real


async def test_a_tool_answers_over_a_real_round_trip() -> None:
    async with session(tiny()) as link:
        assert await number(link, "add", a=1, b=2) == 3
        assert link.protocol == "2026-07-28"
        assert "slow" in link.tools


async def test_an_old_revision_with_a_handshake_works_too() -> None:
    server = Stdio(command=tiny().command, revision=Revision.LEGACY)
    async with session(server) as link:
        assert await number(link, "add", a=1, b=2) == 3
        assert link.protocol == "2025-11-25"


async def test_many_callers_share_one_session_and_each_gets_its_own_answer() -> None:
    sums: dict[int, int] = {}
    async with session(tiny()) as link:

        async def caller(n: int) -> None:
            sums[n] = await number(link, "add", a=n, b=n)

        async with trio.open_nursery() as callers:
            for n in range(50):
                callers.start_soon(caller, n)
    assert sums == {n: 2 * n for n in range(50)}


async def test_killing_the_server_in_the_middle_of_a_call_frees_the_caller_at_once() -> None:
    async with session(tiny()) as link:
        server = await number(link, "pid")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_kill_soon, server)
            began = trio.current_time()
            with pytest.raises(NotAnswered, match="SIGKILL") as caught:
                await tool(link, "slow", seconds=5)
        assert trio.current_time() - began < 1
        assert caught.value.sent is Sent.YES
        assert isinstance(await link.wait_lost(), SessionLost)
        with pytest.raises(NotAnswered) as later:
            await tool(link, "add", a=1, b=1)
        assert later.value.sent is Sent.NO


async def _kill_soon(pid: int) -> None:
    await trio.sleep(0.2)
    os.kill(pid, signal.SIGKILL)


async def test_a_server_that_ends_inside_a_tool_says_with_which_code() -> None:
    async with session(tiny()) as link:
        with pytest.raises(NotAnswered, match="exited with code 9"):
            await tool(link, "die")


async def test_a_hung_server_costs_the_caller_its_deadline_and_then_the_session() -> None:
    async with session(tiny()) as link:
        server = await number(link, "pid")
        os.kill(server, signal.SIGSTOP)
        began = trio.current_time()
        with pytest.raises(NotAnswered) as caught:
            await tool(link, "add", timeout=0.3, a=1, b=1)
        assert trio.current_time() - began < 0.6
        assert caught.value.timed_out
        assert caught.value.sent is Sent.YES  # The pipe took it.
        await link.wait_lost()
        await link.aclose()
        assert not is_running(server)  # SIGTERM means nothing to a stopped process.


async def test_a_slow_tool_costs_its_caller_a_deadline_and_nobody_the_session() -> None:
    async with session(tiny()) as link:
        with pytest.raises(NotAnswered):
            await tool(link, "slow", timeout=0.2, seconds=30)
        with trio.move_on_after(0.5):
            await link.wait_lost()
            pytest.fail("the session was lost")
        assert await number(link, "add", a=1, b=1) == 2


async def test_a_server_busy_with_one_call_is_not_taken_for_dead() -> None:
    async with session(tiny()) as link, trio.open_nursery() as nursery:
        nursery.start_soon(_block, link)
        await trio.sleep(0.2)
        await link.probe()  # Silent for 4 s, and excused: the call is within its deadline.
        assert await number(link, "add", a=1, b=1) == 2


async def _block(link: object) -> None:
    await tool(link, "blocking", timeout=20, seconds=5)  # type: ignore[arg-type]  # A nursery forgets types.


async def test_a_cancelled_call_leaves_at_once_and_harms_nobody() -> None:
    async with session(tiny()) as link:
        began = trio.current_time()
        with trio.move_on_after(0.1) as scope:
            await tool(link, "slow", seconds=30)
        assert scope.cancelled_caught
        assert trio.current_time() - began < 0.3
        assert await number(link, "add", a=2, b=2) == 4
        with trio.fail_after(1):
            await link.wait_idle()


async def test_cancelling_a_call_to_a_hung_server_with_a_full_pipe_leaves_at_once_too() -> None:
    async with session(tiny()) as link:
        server = await number(link, "pid")
        os.kill(server, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                _ignore, link
            )  # Fills the pipe, so that no cancellation can be written either.
            await trio.sleep(0.1)
            began = trio.current_time()
            with pytest.raises(NotAnswered) as caught:
                await tool(link, "add", timeout=0.2, a=1, b=1)
            assert trio.current_time() - began < 0.5
            assert caught.value.sent is Sent.NO
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 1


async def _ignore(link: object) -> None:
    with pytest.raises(NotAnswered):
        await tool(link, "fail", timeout=9, text="x" * 1_000_000)  # type: ignore[arg-type]  # As above.


async def test_an_orderly_close_lets_the_server_end_and_leaves_nothing() -> None:
    async with session(tiny()) as link:
        server, child = await number(link, "pid"), await number(link, "litter")
        await link.aclose()
        await link.aclose()
    assert not is_running(server)
    await wait_gone(child)


async def test_a_server_that_ignores_the_end_of_its_input_and_sigterm_is_killed() -> None:
    async with session(tiny("stubborn")) as link:
        server = await number(link, "pid")
        began = trio.current_time()
        await link.aclose()
        assert trio.current_time() - began < 3
    assert not is_running(server)


async def test_cancelling_the_sessions_owner_kills_the_server_and_what_it_started() -> None:
    pids: list[int] = []
    async with trio.open_nursery() as nursery:
        link = await open_link(tiny(), nursery)
        pids += [await number(link, "pid"), await number(link, "litter")]
        nursery.cancel_scope.cancel()
    assert not is_running(pids[0])
    await wait_gone(pids[1])


async def test_a_dead_servers_children_die_with_it() -> None:
    async with session(tiny()) as link:
        child = await number(link, "litter")
        os.kill(await number(link, "pid"), signal.SIGKILL)
        await link.wait_lost()
        await wait_gone(child)


async def test_a_server_that_crashes_at_start_says_so_with_its_last_words() -> None:
    crash = script("import sys; print('no such database', file=sys.stderr); sys.exit(3)")
    async with trio.open_nursery() as nursery:
        with trio.fail_after(5), pytest.raises(SessionLost, match=r"code 3.*no such database"):
            await open_link(crash, nursery)


async def test_a_program_that_does_not_exist_is_a_clear_error() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(CannotStart, match="no-such-program"):
            await open_link(Stdio(command=("no-such-program",)), nursery)


async def test_cancelling_a_handshake_that_hangs_leaves_no_process(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    silent = script(f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.7) as scope:
            await open_link(silent, nursery)
    assert scope.cancelled_caught
    assert not is_running(int(pid.read_text()))


async def test_garbage_on_stdout_is_reported_and_otherwise_ignored() -> None:
    said: list[tuple[str, str]] = []
    shell = "echo banner >&2; (while printf 'Hi \\033[1m{\\n'; do sleep 0.02; done) & exec " + " ".join(
        tiny().command
    )
    async with session(Stdio(command=("sh", "-c", shell)), said) as link:
        assert await number(link, "add", a=1, b=1) == 2
    assert ("stdout", "Hi \\x1b[1m{") in said
    assert ("stderr", "banner") in said


async def test_a_program_that_only_writes_garbage_is_no_server() -> None:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(5), pytest.raises(SessionLost, match="not MCP"):
            await open_link(Stdio(command=("yes",)), nursery)


async def test_a_line_without_end_does_not_fill_the_memory() -> None:
    endless = Stdio(
        command=(sys.executable, "-c", "import os\nwhile 1: os.write(1, b'x' * 65536)"),
        max_message_bytes=1_000_000,
    )
    async with trio.open_nursery() as nursery:
        with trio.fail_after(5), pytest.raises(SessionLost, match="longer than 1000000 bytes"):
            await open_link(endless, nursery)


async def test_the_server_does_not_see_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    async with session(tiny()) as link:
        names = (await tool(link, "environment")).structured_content["result"]
    assert "PATH" in names
    assert "DATABASE_PASSWORD" not in names


async def test_an_unknown_tool_is_an_answer_not_an_outage() -> None:
    async with session(tiny()) as link:
        assert (await tool(link, "no_such_tool")).is_error
        assert await number(link, "add", a=1, b=1) == 2


async def test_arguments_that_are_no_json_are_the_callers_own_error() -> None:
    async with session(tiny()) as link:
        with pytest.raises(ValueError, match="serialize"):
            await tool(link, "add", a=object(), b=1)
        assert await number(link, "add", a=1, b=1) == 2


async def test_a_new_session_takes_about_as_long_as_python_needs_to_start() -> None:
    began = time.perf_counter()
    async with session(tiny()):
        assert time.perf_counter() - began < 10  # 0.6 s on an idle machine; the bound is for a busy one.
