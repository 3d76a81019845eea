"""What the server of an MCP connection can answer instead of a result, and why a session ends.

The first three are answers, so they go to the caller and say nothing against the connection. A server that
gives no answer at all is told as for every service: `Unavailable`, `DeadlineExceeded`, `OutcomeUnknown`.
"""

from resprout.actors.connection.failure_kind import FailureKind, failure_kind
from resprout.runtime.errors import ReplyError, Sent


class ToolError(ReplyError):
    """The tool ran and reports that it failed. Fix the arguments, or show the text to whoever asked."""

    def __init__(self, tool: str, text: str) -> None:
        super().__init__(f"the tool {tool} failed: {text}")
        self.tool, self.text = tool, text


class RequestRefused(ReplyError):
    """The server refused the request with a JSON-RPC error, such as -32602 for wrong arguments."""

    def __init__(self, request: str, code: int, text: str) -> None:
        super().__init__(f"{request} was refused: {text} (code {code})")
        self.request, self.code, self.text = request, code, text


class BadAnswer(ReplyError):
    """The server answered, but not as the protocol or the tool's own output schema demands. The tool may have run."""

    def __init__(self, request: str, why: str) -> None:
        super().__init__(f"the answer to {request} is not valid: {why}")
        self.request, self.why = request, why


class SessionLost(ConnectionError):
    """A session could not be opened, or has ended. The connection makes a new one."""


class CannotStart(Exception):
    """The server's program cannot be started: not found, or not allowed. Usually needs a human."""


class CredentialsRefused(Exception):
    """The server does not accept our credentials; the next attempt asks for new ones. Usually needs a human."""


class NotAnswered(Exception):
    """No answer came to one request over one session. Clients make a `ServiceError` of it, or try again.

    Attributes:
        why: What happened to the session or the request.
        sent: Whether the request reached the server.
        timed_out: The caller's time ran out; the session may be well.
        retry_after: Seconds the server asked us to wait, if it did.
    """

    def __init__(
        self, why: Exception, *, sent: Sent, timed_out: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(str(why) or repr(why))
        self.why, self.sent, self.timed_out, self.retry_after = why, sent, timed_out, retry_after


failure_kind.register(SessionLost, lambda _error: FailureKind.NETWORK)
failure_kind.register(CredentialsRefused, lambda _error: FailureKind.AUTH)
failure_kind.register(CannotStart, lambda _error: FailureKind.NAME)
