"""Real MCP servers as child processes, for tests."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio
from mcp import Client
from mcp_types import CallToolResult

from resprout.actors.mcp.link import McpLink, open_link
from resprout.actors.mcp.servers import McpServer, Stdio

SCRIPT = Path(__file__).with_name("server.py")


def tiny(*how: str, counter: Path | None = None) -> Stdio:
    """The server of these tests over stdio."""
    env = {} if counter is None else {"TINY_COUNTER": str(counter)}
    return Stdio(command=(sys.executable, str(SCRIPT), "stdio", *how), env=env)


def script(code: str) -> Stdio:
    """A server that is a few lines of Python."""
    return Stdio(command=(sys.executable, "-c", code))


@asynccontextmanager
async def session(server: McpServer, said: list[tuple[str, str]] | None = None) -> AsyncIterator[McpLink]:
    """An open session, closed in the end."""
    lines = [] if said is None else said
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            link = await open_link(server, nursery, wrote=lambda stream, line: lines.append((stream, line)))
            await link.probe()
            try:
                yield link
            finally:
                await link.aclose()


async def tool(link: McpLink, name: str, timeout: float = 5.0, **arguments: object) -> CallToolResult:
    """Call a tool over *link*."""

    async def send(client: Client) -> CallToolResult:
        return await client.call_tool(name, arguments, read_timeout_seconds=timeout)

    return await link.request(name, send, timeout=timeout)


async def number(link: McpLink, name: str, **arguments: object) -> int:
    """Call a tool that answers with a number."""
    return int((await tool(link, name, **arguments)).structured_content["result"])


def is_running(pid: int) -> bool:
    """Whether there is such a process and it is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def wait_gone(pid: int) -> None:
    """Wait until *pid* has ended; a bug ends in a timeout."""
    with trio.fail_after(5):
        while is_running(pid):
            await trio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@attrs.define
class HttpServer:
    """The server of these tests over HTTP, which can be killed and started again on its port."""

    how: tuple[str, ...] = ()
    counter: Path | None = None
    port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def start(self) -> None:
        env = dict(os.environ) if self.counter is None else {**os.environ, "TINY_COUNTER": str(self.counter)}
        command = [sys.executable, str(SCRIPT), "http", str(self.port), *self.how]
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)  # noqa: ASYNC220 - a test.
        with trio.fail_after(20):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", self.port)).aclose()
                except OSError:
                    await trio.sleep(0.02)
                else:
                    return

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def http_server(*how: str, counter: Path | None = None) -> Iterator[HttpServer]:
    """A server that is killed in the end."""
    server = HttpServer(how, counter)
    try:
        yield server
    finally:
        server.kill()
