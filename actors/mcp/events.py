"""What an MCP connection reports, besides the changes of its state."""

import attrs

from resprout.actors.connection.events import ConnectionEvent


@attrs.frozen(kw_only=True)
class ToolsChanged(ConnectionEvent):
    """The server's tools were listed and differ from the last listing, which may be one of an earlier session."""

    added: frozenset[str]
    removed: frozenset[str]
    total: int


@attrs.frozen(kw_only=True)
class ServerWrote(ConnectionEvent):
    """A stdio server wrote a *line* that is not a message: on its standard error, or garbage on its output."""

    stream: str
    line: str
