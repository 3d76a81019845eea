"""A real MCP server for tests. usage: server.py stdio | http PORT [json]"""

import os
import signal
import sys
import time
from pathlib import Path

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

server = MCPServer("tiny")
counter = Path(os.environ.get("TINY_COUNTER", "/dev/null"))
READ_ONLY = ToolAnnotations(read_only_hint=True)
IDEMPOTENT = ToolAnnotations(idempotent_hint=True)


def count() -> None:
    with counter.open("a") as file:
        file.write("x")


@server.tool(annotations=READ_ONLY)
async def add(a: int, b: int) -> int:
    return a + b


@server.tool(annotations=READ_ONLY)
async def pid() -> int:
    return os.getpid()


@server.tool()
async def slow(seconds: float) -> str:
    count()
    await anyio.sleep(seconds)
    return "done"


@server.tool(annotations=IDEMPOTENT)
async def slow_again(seconds: float) -> str:
    count()
    await anyio.sleep(seconds)
    return "done"


@server.tool()
async def blocking(seconds: float) -> str:
    time.sleep(seconds)  # noqa: ASYNC251 - a server that does one thing at a time.
    return "done"


@server.tool()
async def die() -> str:
    count()
    os._exit(9)


@server.tool(annotations=READ_ONLY)
async def die_once(flag: str) -> str:
    """Ends the server on the first call, answers on the second."""
    if Path(flag).exists():
        return "alive"
    Path(flag).touch()
    os._exit(9)


@server.tool()
async def fail(text: str) -> str:
    raise ToolError(text)


@server.tool()
async def litter() -> int:
    """Leaves a child behind in the server's group."""
    child = await anyio.open_process(["sleep", "600"], stdin=None, stdout=None, stderr=None)
    return child.pid


@server.tool(annotations=READ_ONLY)
async def echo(text: str) -> str:
    return text


@server.tool()
async def noise(text: str) -> str:
    os.write(1, text.encode() + b"\n")
    os.write(2, f"on the side: {text}\n".encode())
    return "said"


@server.tool()
async def environment() -> list[str]:
    return sorted(os.environ)


@server.resource("note://greeting")
async def greeting() -> str:
    return "hello"


@server.prompt()
async def ask(topic: str) -> str:
    return f"Tell me about {topic}"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["stdio", *how]:
            if "stubborn" in how:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            anyio.run(server.run_stdio_async, backend="trio")
            if "stubborn" in how:
                time.sleep(600)
        case ["http", port, *how]:
            import uvicorn

            app = server.streamable_http_app(json_response="json" in how)
            uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error")
