"""The end of a session: why, and what the client is told."""

import attrs

from resprout.actors.websocket.wire import Close, Error, encode


@attrs.frozen
class End:
    """Why a session ended.

    Attributes:
        code: The WebSocket's close code, one of `Close` if the server chose it.
        reason: For humans.
        by_client: The client closed, or vanished.
        retry_after: The server asks it to come back then, in seconds; None: at its own pace.
    """

    code: int
    reason: str
    by_client: bool = False
    retry_after: float | None = None


STOPPING = End(Close.GOING_AWAY, "the server is stopping", retry_after=0.0)
CRASHED = End(Close.INTERNAL_ERROR, "internal error", retry_after=1.0)


def last_words(end: End) -> str | None:
    """The frame that tells the client why; None if it left by itself.

    >>> last_words(STOPPING)
    '{"type":"error","code":"going_away","message":"the server is stopping","retry_after":0.0}'
    """
    if end.by_client:
        return None
    name = Close(end.code).name.lower()
    return encode(Error(name, end.reason, retry_after=end.retry_after))
