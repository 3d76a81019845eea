"""Events of MCP connections."""

from resprout.actors.mcp.events import ToolsChanged
from resprout.actors.metrics import catalogue as metrics
from resprout.actors.metrics.increments import Increments, increments, one


@increments.register
def tools_changed(event: ToolsChanged) -> Increments:
    return one(metrics.MCP_TOOLS, event.service)
