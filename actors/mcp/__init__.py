"""MCP on trio: a session that is always opened again, and the server's tools, resources and prompts over it."""

try:
    import mcp as _mcp  # noqa: F401 - only to name the extra if it is missing.
except ModuleNotFoundError as _error:
    raise ImportError("resprout.actors.mcp needs mcp: pip install 'resprout[mcp]'") from _error

from resprout.actors.connection.on_down import FAIL_FAST, WAIT, OnDown
from resprout.actors.mcp.client import McpClient
from resprout.actors.mcp.connection import McpConnection
from resprout.actors.mcp.errors import (
    BadAnswer,
    CannotStart,
    CredentialsRefused,
    NotAnswered,
    RequestRefused,
    SessionLost,
    ToolError,
)
from resprout.actors.mcp.events import ServerWrote, ToolsChanged
from resprout.actors.mcp.link import McpLink, open_link
from resprout.actors.mcp.servers import Http, McpServer, Revision, Stdio
from resprout.actors.mcp.tools import Replay, ReplayPolicy

__all__ = [
    "FAIL_FAST",
    "WAIT",
    "BadAnswer",
    "CannotStart",
    "CredentialsRefused",
    "Http",
    "McpClient",
    "McpConnection",
    "McpLink",
    "McpServer",
    "NotAnswered",
    "OnDown",
    "Replay",
    "ReplayPolicy",
    "RequestRefused",
    "Revision",
    "ServerWrote",
    "SessionLost",
    "Stdio",
    "ToolError",
    "ToolsChanged",
    "open_link",
]
