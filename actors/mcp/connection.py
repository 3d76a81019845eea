"""The actor that keeps a session with one MCP server, for as long as it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from resprout.actors.connection.actor import Connection
from resprout.actors.connection.policy import KeeperPolicy
from resprout.actors.mcp.events import ServerWrote, ToolsChanged
from resprout.actors.mcp.link import open_link
from resprout.actors.mcp.servers import McpServer

if TYPE_CHECKING:
    import trio
    from mcp_types import Tool

    from resprout.actors.mcp.link import McpLink

# A server may be a package that is fetched first, and an old one that does not know our first question lets
# it wait for ten seconds before the second is asked.
MCP_POLICY: Final = KeeperPolicy(attempt_timeout=30.0)


@attrs.define
class McpConnection(Connection):
    """Keeps one session with an MCP server and lends it to clients: ``McpClient(MCP)``.

        MCP = Name(McpConnection, "mcp")
        child("mcp", partial(McpConnection, Stdio(command=("python", "server.py"))), name=MCP)

    An outage is no crash: a lost session is opened anew, for ever, and calls get a typed error meanwhile. A
    stdio server is a child process of its session: it is started with it and dies with it.

    Attributes:
        server: `Stdio` or `Http`.
        policy: Deadlines, backoff and probes of the connection.
        service: Name in errors, events and metrics.
    """

    server: McpServer
    policy: KeeperPolicy = MCP_POLICY
    service: str = "mcp"
    _tools: frozenset[str] = attrs.field(default=frozenset(), init=False, repr=False)

    async def on_start(self) -> None:
        """Begin to keep the session; returns at once."""
        self.keep(self.service, self._open, self.policy)

    async def tools(self) -> tuple[str, ...]:
        """Names of the tools as last listed, in this or an earlier session."""
        return tuple(sorted(self._tools))

    async def _open(self, nursery: trio.Nursery) -> McpLink:
        return await open_link(self.server, nursery, tools_listed=self._listed, wrote=self._wrote)

    def _listed(self, tools: dict[str, Tool]) -> None:
        names = frozenset(tools)
        if names != self._tools:
            added, removed = names - self._tools, self._tools - names
            self._tools = names
            self.context.emit(
                ToolsChanged(
                    actor=self.context.path,
                    service=self.service,
                    added=added,
                    removed=removed,
                    total=len(names),
                )
            )

    def _wrote(self, stream: str, line: str) -> None:
        self.context.emit(
            ServerWrote(actor=self.context.path, service=self.service, stream=stream, line=line)
        )
