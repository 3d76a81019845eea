"""Many callers, random cancels, a server that is killed and stopped under them: what is answered is right."""

import os
import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio

from resprout.actors.connection import KeeperPolicy
from resprout.actors.mcp import WAIT, Http, McpClient, McpConnection, Stdio
from resprout.runtime import Name, open_runtime
from resprout.runtime.backoff import Backoff
from resprout.runtime.errors import ServiceError
from resprout.supervisors import child, supervisor
from tests.actors.mcp.mcp_servers import http_server, is_running, tiny

pytestmark = pytest.mark.real

MCP = Name(McpConnection, "mcp")
FAST = KeeperPolicy(attempt_timeout=20.0, backoff=Backoff(floor=0.01, base=0.02, cap=0.1))
SECONDS = 6.0


class Storm:
    """Callers that add numbers of their own and count what they are told."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[object] = []
        self.slowest = 0.0

    async def caller(self, number: int, until: float) -> None:
        mcp = McpClient(MCP, timeout=2.0, on_down=WAIT)
        turn = 0
        while trio.current_time() < until:
            turn += 1
            a, b = number * 1_000_000, turn
            patience = self.random.choice([0.001, 0.01, 5.0, 5.0])
            began = trio.current_time()
            with trio.move_on_after(patience) as scope:
                try:
                    result = await mcp.call_tool("add", {"a": a, "b": b})
                except ServiceError as error:
                    self.outcomes[type(error).__name__] += 1
                else:
                    self.outcomes["answered"] += 1
                    if result.structured_content != {"result": a + b}:
                        self.wrong.append((a, b, result.structured_content))
            if scope.cancelled_caught:
                self.outcomes["cancelled"] += 1
            self.slowest = max(self.slowest, trio.current_time() - began)

    async def rage(self, server: Stdio | Http, fault: object) -> None:
        tree = supervisor("app", child("mcp", partial(McpConnection, server, FAST), name=MCP))
        with trio.fail_after(60):
            async with open_runtime(tree) as runtime:
                await McpClient(MCP, on_down=WAIT).list_tools()
                until = trio.current_time() + SECONDS
                async with trio.open_nursery() as nursery:
                    for number in range(20):
                        nursery.start_soon(self.caller, number, until)
                    nursery.start_soon(fault, until)  # type: ignore[arg-type]  # An async function of one float.
                with trio.fail_after(15):
                    await McpClient(MCP, on_down=WAIT).call_tool("add", {"a": 1, "b": 1})
                assert sum(place.restarts for place in runtime.snapshot().walk()) == 0
        assert self.wrong == []
        assert self.outcomes["answered"] > 100, self.outcomes
        assert self.slowest < 3.0, "a caller waited longer than its timeout"


async def test_a_storm_over_stdio(tmp_path: Path) -> None:
    pids: list[int] = []

    async def fault(until: float) -> None:
        while trio.current_time() < until - 1.5:
            await trio.sleep(0.4)
            try:
                answer = await McpClient(MCP, on_down=WAIT).call_tool("pid")
            except ServiceError:
                continue
            pids.append(answer.structured_content["result"])
            os.kill(pids[-1], signal.SIGKILL)

    await Storm(seed=7).rage(tiny(), fault)
    assert len(pids) > 1
    assert not any(is_running(pid) for pid in pids)


async def test_a_storm_over_http() -> None:
    with http_server() as server:
        await server.start()

        async def fault(until: float) -> None:
            while trio.current_time() < until - 2.5:
                await trio.sleep(0.5)
                server.kill()
                await trio.sleep(0.1)
                await server.start()

        await Storm(seed=11).rage(Http(url=server.url), fault)
