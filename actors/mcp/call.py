"""One request on its way: whether it was written, and what befell it.

The SDK does not tell. But it carries the context of the task that makes a request down to the code that
writes it, so the transports find the request they are working for in a context variable and note on it what
they alone know.
"""

from contextvars import ContextVar
from typing import Final

import attrs

from resprout.runtime.errors import Sent


@attrs.define(eq=False)
class Call:
    """Notes on one request.

    Attributes:
        sent: Whether it was written; MAYBE from the first byte on.
        failure: Why the transport could not bring an answer, if it could not.
        retry_after: Seconds the server asked us to wait, if it did.
    """

    sent: Sent = Sent.NO
    failure: Exception | None = None
    retry_after: float | None = None

    def writing(self) -> None:
        """The first byte is about to be written."""
        if self.sent is Sent.NO:
            self.sent = Sent.MAYBE


CURRENT: Final[ContextVar[Call | None]] = ContextVar("resprout_mcp_call", default=None)
