"""A remote server over streamable HTTP, with every failure of the transport kept to the call it befell.

In the SDK a refused, reset or cut request escapes into the client's task group, cancels whatever runs inside
``async with Client`` and ends the session for all. So our HTTP client never raises: a failure becomes an
error response for the one request, and the reason, with what is known about the request having been written,
is noted on its `Call`. What a failure says about the session is the link's to judge.
"""

import json
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs
import httpx2
import trio
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client

from resprout.actors.mcp.call import CURRENT, Call
from resprout.actors.mcp.errors import CredentialsRefused, SessionLost
from resprout.actors.mcp.servers import Http
from resprout.runtime.classify import leaves
from resprout.runtime.errors import Sent

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams  # A type only: the module may move.

# A notification has no answer to wait for, and the SDK sends nothing else until it is accepted.
NOTIFICATION_TIMEOUT: Final = 5.0

SESSION_HEADER: Final = "mcp-session-id"


@attrs.frozen
class Verdict:
    """What a status of HTTP means when it comes instead of an answer.

    Attributes:
        error: Why there is no answer.
        sent: NO if such a status says that the request was not carried out.
        session_lost: The session is useless: make a new one, with new credentials.
    """

    error: Exception
    sent: Sent
    session_lost: bool = False


def judge(
    status: int, *, in_session: bool, answers_in_json: bool, asks_to_wait: bool = False
) -> Verdict | None:
    """What *status* means, or None if the response is an answer, be it an error of JSON-RPC.

    A 503 alone says nothing of the request: proxies (Envoy for one) also send it for a server that was cut
    off at work. One that *asks_to_wait* (``Retry-After``) was turned away on purpose.

    >>> judge(404, in_session=True, answers_in_json=True).session_lost
    True
    >>> judge(400, in_session=False, answers_in_json=True) is None
    True
    """
    said = f"the server answered HTTP {status}"
    match status:
        case 404 if in_session:
            # The specification's way to say that a session is over: the request was not looked at.
            return Verdict(SessionLost("the server has ended the session"), Sent.NO, session_lost=True)
        case 401 | 403:
            return Verdict(CredentialsRefused(said), Sent.NO, session_lost=True)
        case 429:
            return Verdict(SessionLost(said), Sent.NO)
        case 503 if asks_to_wait:
            return Verdict(SessionLost(said), Sent.NO)
        case 503:
            return Verdict(SessionLost(said), Sent.MAYBE)
        case _ if status >= 500 and not answers_in_json:
            return Verdict(SessionLost(said), Sent.MAYBE)
        case _:
            return None


@attrs.define(eq=False)
class HttpTransport:
    """The HTTP side of one session.

    Attributes:
        server: What to connect to.
        lost: Called when the server says that the session is over, with the reason.
        suspect: Called when a request failed: the server may be gone, somebody should look.
        last_failure: Why the last request failed; says why a handshake did.
    """

    server: Http
    lost: Callable[[Exception], None]
    suspect: Callable[[], None]
    last_failure: Exception | None = None

    @asynccontextmanager
    async def streams(self) -> AsyncIterator["TransportStreams"]:
        """Open a client with fresh headers and give the SDK its streams."""
        headers = {} if self.server.headers is None else dict(await self.server.headers())
        timeout = httpx2.Timeout(None, connect=self.server.connect_timeout, pool=self.server.connect_timeout)
        async with ContainedClient(self, headers, timeout) as client:
            sdk: Transport = streamable_http_client(
                self.server.url, http_client=client, max_sse_event_size=self.server.max_message_bytes
            )
            async with sdk as streams:
                yield streams

    def failed(self, request: httpx2.Request, error: Exception) -> httpx2.Response:
        """Note why *request* has no answer, and make the response that wakes its caller."""
        error = in_our_words(error)
        self.note(error)
        self.suspect()
        return refusal(request, error)

    def note(self, error: Exception) -> None:
        """Remember *error*, for the call in whose context we are and for the handshake."""
        self.last_failure = error
        call = CURRENT.get()
        if call is not None:
            call.failure = error

    def look_at(self, response: httpx2.Response) -> None:
        """Judge the status of *response*, and watch over its body."""
        verdict = judge(
            response.status_code,
            in_session=SESSION_HEADER in response.request.headers,
            answers_in_json=response.headers.get("content-type", "").startswith("application/json"),
            asks_to_wait="retry-after" in response.headers,
        )
        if verdict is None and response.status_code >= 400 and SESSION_HEADER in response.request.headers:
            self.suspect()  # Some servers have other words for a session they do not know.
        if verdict is not None:
            self.note(verdict.error)
            call = CURRENT.get()
            if call is not None:
                call.sent, call.retry_after = verdict.sent, retry_after(response.headers)
            if verdict.session_lost:
                self.lost(verdict.error)
            else:
                self.suspect()
        if isinstance(response.stream, httpx2.AsyncByteStream):
            streamed = response.headers.get("content-type", "").startswith("text/event-stream")
            limit = None if streamed else self.server.max_message_bytes
            response.stream = Watched(response.stream, self, limit)


class ContainedClient(httpx2.AsyncClient):
    """An HTTP client that answers with an error response where others raise."""

    def __init__(self, transport: HttpTransport, headers: Mapping[str, str], timeout: httpx2.Timeout) -> None:
        super().__init__(headers=headers, timeout=timeout)
        self._watcher = transport

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        **options: Any,  # Passed on; their types are private names of httpx2.
    ) -> httpx2.Response:
        """Send; a failure of the transport becomes a response with status 503."""
        request.extensions = {**request.extensions, "trace": trace_for(CURRENT.get())}
        response: httpx2.Response | None = None
        try:
            with trio.move_on_after(NOTIFICATION_TIMEOUT if is_notification(request) else float("inf")):
                response = await super().send(request, stream=stream, **options)
        except (httpx2.RequestError, OSError) as error:
            return self._watcher.failed(request, error)
        if response is None:
            return self._watcher.failed(request, TimeoutError("a notification was not accepted in time"))
        self._watcher.look_at(response)
        return response


class Watched(httpx2.AsyncByteStream):
    """The body of a response: bounded, and when it breaks off, it says so in a way the SDK survives."""

    def __init__(self, body: httpx2.AsyncByteStream, transport: HttpTransport, limit: int | None) -> None:
        self._body, self._transport, self._limit = body, transport, limit
        self._chunks = body.__aiter__()
        self._seen = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except (httpx2.RequestError, OSError) as error:
            self._transport.note(in_our_words(error))
            self._transport.suspect()
            raise httpx2.StreamError(f"the answer broke off: {error!r}") from error
        self._seen += len(chunk)
        if self._limit is not None and self._seen > self._limit:
            raise httpx2.StreamError(f"the answer is longer than {self._limit} bytes")
        return chunk

    async def aclose(self) -> None:
        """Close the body."""
        if isinstance(self._chunks, AsyncGenerator):
            await self._chunks.aclose()
        await self._body.aclose()


def refusal(request: httpx2.Request, error: Exception) -> httpx2.Response:
    """A response that the SDK passes to the caller of *request* as an error of JSON-RPC."""
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": str(error) or repr(error)}}
    return httpx2.Response(503, json=body, request=request)


def in_our_words(error: Exception) -> Exception:
    """The error at the bottom of *error*, where HTTP's layers have wrapped it, as what it says about the service."""
    root: BaseException = error
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper
    root = next(leaves(root))
    if isinstance(root, ssl.SSLError | socket.gaierror | TimeoutError):
        return root  # A human, or a timeout: known as what they are everywhere.
    lost = SessionLost(str(root) or repr(root))
    lost.__cause__ = error
    return lost


def is_notification(request: httpx2.Request) -> bool:
    """Whether *request* posts a message that has no answer."""
    if request.method != "POST":
        return False
    message = json.loads(request.content)
    return not (isinstance(message, dict) and "id" in message and "method" in message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks us to wait; None if it names none, or a date.

    >>> retry_after({"retry-after": "3"}), retry_after({"retry-after": "soon"})
    (3.0, None)
    """
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def trace_for(call: Call | None) -> Callable[[str, Mapping[str, object]], object]:
    """A trace function of httpcore that notes on *call* when its request begins to be written."""

    async def trace(event: str, _info: Mapping[str, object]) -> None:
        if call is not None and event.endswith("send_request_headers.started"):
            call.writing()

    return trace
