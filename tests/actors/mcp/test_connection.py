"""The actor and its client in a running tree, with a real server that is killed under them."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from resprout.actors.connection import BackingOff, KeeperPolicy, LinkLost, Ready, Recovered
from resprout.actors.mcp import (
    WAIT,
    Http,
    McpClient,
    McpConnection,
    Replay,
    RequestRefused,
    ServerWrote,
    Stdio,
    ToolError,
    ToolsChanged,
)
from resprout.runtime import Event, Name, Sent, System, open_runtime
from resprout.runtime.backoff import Backoff
from resprout.runtime.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from resprout.runtime.recipe import Recipe
from resprout.supervisors import child, supervisor
from tests.actors.mcp.mcp_servers import http_server, is_running, tiny

pytestmark = pytest.mark.real

MCP = Name(McpConnection, "mcp")
FAST = KeeperPolicy(attempt_timeout=20.0, backoff=Backoff(floor=0.01, base=0.02, cap=0.1))


def tree(server: Stdio | Http) -> Recipe:
    return supervisor("app", child("mcp", partial(McpConnection, server, FAST), name=MCP))


def restarts(runtime: System) -> int:
    return sum(place.restarts for place in runtime.snapshot().walk())


async def ready() -> McpClient:
    mcp = McpClient(MCP, on_down=WAIT)
    await mcp.list_tools()
    return mcp.using()


async def pid_of(mcp: McpClient) -> int:
    return int((await mcp.call_tool("pid")).structured_content["result"])


async def test_killing_the_server_again_and_again_costs_sessions_and_no_restart() -> None:
    events: list[Event] = []
    with trio.fail_after(60):
        async with open_runtime(tree(tiny())) as runtime:
            runtime.events.subscribe(events.append)
            mcp = await ready()
            for _ in range(3):
                os.kill(await pid_of(mcp), signal.SIGKILL)
                await wait_for(events, LinkLost)
                assert (await mcp.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
            assert restarts(runtime) == 0
    recovered = [event.duration for event in events if isinstance(event, Recovered)]
    assert len(recovered) == 3


async def wait_for(events: list[Event], kind: type[Event]) -> None:
    with trio.fail_after(10):
        while not any(isinstance(event, kind) for event in events):
            await trio.sleep(0.005)


async def test_a_call_that_is_not_safe_to_repeat_runs_once_and_says_that_nobody_knows(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    with trio.fail_after(30):
        async with open_runtime(tree(tiny(counter=counter))):
            mcp = await ready()
            with pytest.raises(OutcomeUnknown) as caught:
                await mcp.call_tool("die")
            assert caught.value.sent is Sent.YES
            assert caught.value.service == "mcp"
            await mcp.call_tool("add", {"a": 1, "b": 2})
    assert counter.read_text() == "x"


async def test_a_read_only_tool_is_called_again_over_the_next_session(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with open_runtime(tree(tiny())) as runtime:
            mcp = McpClient(MCP, on_down=WAIT)
            result = await mcp.call_tool("die_once", {"flag": str(tmp_path / "flag")})
            assert result.structured_content == {"result": "alive"}
            assert restarts(runtime) == 0


async def test_an_idempotent_tool_killed_in_the_middle_runs_to_its_end(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    with trio.fail_after(30):
        async with open_runtime(tree(tiny(counter=counter))), trio.open_nursery() as nursery:
            mcp = await ready()
            nursery.start_soon(_kill_when_counted, await pid_of(mcp), counter)
            result = await mcp.call_tool("slow_again", {"seconds": 0.5})
            assert result.structured_content == {"result": "done"}
    assert counter.read_text() == "xx"


async def _kill_when_counted(pid: int, counter: Path) -> None:
    while not counter.exists():
        await trio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


async def test_a_tool_that_always_kills_its_server_is_tried_a_few_times_only(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    with trio.fail_after(60):
        async with open_runtime(tree(tiny(counter=counter))) as runtime:
            mcp = (await ready()).using(replay=Replay.ALWAYS)
            with pytest.raises(DeadlineExceeded) as caught:
                await mcp.call_tool("die", timeout=30)
            assert caught.value.sent is Sent.YES
            assert restarts(runtime) == 0
    assert counter.read_text() == "xxxx"


async def test_a_caller_who_distrusts_annotations_gets_no_repetition(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with open_runtime(tree(tiny())):
            mcp = (await ready()).using(replay=Replay.NEVER)
            with pytest.raises(OutcomeUnknown):
                await mcp.call_tool("die_once", {"flag": str(tmp_path / "flag")})


async def test_a_tools_own_error_is_an_answer() -> None:
    with trio.fail_after(30):
        async with open_runtime(tree(tiny())) as runtime:
            mcp = await ready()
            with pytest.raises(ToolError, match="out of paper"):
                await mcp.call_tool("fail", {"text": "out of paper"})
            with pytest.raises(ToolError, match="no_such"):
                await mcp.call_tool("no_such")
            assert isinstance((await runtime.ref("app/mcp").call(McpConnection.status)).state, Ready)


async def test_resources_and_prompts_are_read_too() -> None:
    with trio.fail_after(30):
        async with open_runtime(tree(tiny())):
            mcp = await ready()
            assert [str(resource.uri) for resource in await mcp.list_resources()] == ["note://greeting"]
            assert (await mcp.read_resource("note://greeting")).contents[0].text == "hello"
            assert [prompt.name for prompt in await mcp.list_prompts()] == ["ask"]
            prompt = await mcp.get_prompt("ask", {"topic": "trio"})
            assert prompt.messages[0].content.text == "Tell me about trio"
            with pytest.raises(RequestRefused):
                await mcp.read_resource("note://missing")


async def test_a_server_that_cannot_start_fails_calls_and_never_the_tree() -> None:
    with trio.fail_after(30):
        async with open_runtime(tree(Stdio(command=("no-such-program",)))) as runtime:
            while not isinstance((await MCP.call(McpConnection.status)).state, BackingOff):
                await trio.sleep(0.01)
            with pytest.raises(Unavailable, match="no-such-program") as caught:
                await McpClient(MCP).call_tool("add", {"a": 1, "b": 2})
            assert caught.value.retry_after is not None
            await trio.sleep(0.3)
            assert restarts(runtime) == 0


async def test_waiting_for_a_server_that_never_comes_ends_at_the_deadline() -> None:
    with trio.fail_after(30):
        async with open_runtime(tree(Stdio(command=("no-such-program",)))):
            began = trio.current_time()
            with pytest.raises(Unavailable):
                await McpClient(MCP, on_down=WAIT).call_tool("add", timeout=0.3)
            assert trio.current_time() - began < 0.6


async def test_the_tree_takes_its_server_along_when_it_stops() -> None:
    with trio.fail_after(30):
        async with open_runtime(tree(tiny())):
            server = await pid_of(await ready())
        assert not is_running(server)


async def test_an_operator_can_ask_for_a_new_session() -> None:
    with trio.fail_after(30):
        async with open_runtime(tree(tiny())) as runtime:
            mcp = await ready()
            before = await pid_of(mcp)
            await MCP.call(McpConnection.reconnect, "new credentials")
            assert await pid_of(mcp.using(on_down=WAIT)) != before
            assert restarts(runtime) == 0


async def test_what_the_server_says_and_offers_is_reported() -> None:
    events: list[Event] = []
    with trio.fail_after(30):
        async with open_runtime(tree(tiny())) as runtime:
            runtime.events.subscribe(events.append)
            mcp = await ready()
            await mcp.call_tool("noise", {"text": "hello"})
            assert "add" in await MCP.call(McpConnection.tools)
            await wait_for(events, ServerWrote)
    listed = [event for event in events if isinstance(event, ToolsChanged)]
    assert len(listed) == 1
    assert "add" in listed[0].added


@pytest.mark.parametrize("how", ["plain", "json"])
async def test_an_http_server_that_restarts_is_found_again(how: str) -> None:
    with http_server(how) as server, trio.fail_after(60):
        async with open_runtime(tree(Http(url=server.url))) as runtime:
            with pytest.raises(Unavailable):
                await McpClient(MCP).call_tool("add", {"a": 1, "b": 2})
            await server.start()
            mcp = McpClient(MCP, on_down=WAIT)
            before = await pid_of(mcp)
            server.kill()
            with pytest.raises(Unavailable) as caught:
                await mcp.using(timeout=0.5).call_tool("slow", {"seconds": 0})
            assert caught.value.sent is Sent.NO
            await server.start()
            assert await pid_of(mcp) != before
            assert restarts(runtime) == 0
