"""The assistant's MCP server: one tool, over standard input and output."""

import anyio
from mcp.server.mcpserver import MCPServer

server = MCPServer("chat-tools")


@server.tool(annotations={"readOnlyHint": True})  # type: ignore[arg-type] # The SDK takes a mapping as well.
async def answer(question: str) -> str:
    """Answer a question, after a little thought."""
    await anyio.sleep(0.05)
    return f"You asked: {question}"


if __name__ == "__main__":
    anyio.run(server.run_stdio_async, backend="trio")
