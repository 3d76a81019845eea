"""One session with an MCP server: requests go in, answers come out, and its death wakes everybody.

The SDK's `Client` lives alone in a task of its own, since an error of its transport cancels whatever runs
inside its ``async with``. Requests run in a nursery outside of it; callers wait in their own tasks on a slot,
so a caller is free the moment its deadline passes, whatever the SDK still has to clean up.

Who decides that a session is dead: the transport when it sees it (the process ended, the server does not know
the session), else a probe that fails. A single failed or overdue request only makes the link look: a slow
tool does not cost its neighbours their session.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

import attrs
import trio
from mcp import Client, MCPError
from mcp.client import IncomingMessage
from mcp_types import (
    CONNECTION_CLOSED,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    Implementation,
    Tool,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from resprout.actors.mcp.call import CURRENT, Call
from resprout.actors.mcp.errors import BadAnswer, CannotStart, NotAnswered, RequestRefused, SessionLost
from resprout.actors.mcp.http import HttpTransport
from resprout.actors.mcp.pages import all_tools
from resprout.actors.mcp.servers import McpServer, Stdio
from resprout.actors.mcp.stdio import StdioTransport
from resprout.runtime.classify import leaves
from resprout.runtime.errors import ReplyError, Sent

T = TypeVar("T")

# A little less than a keeper's deadline for a probe, so that the link can say what it knows.
PROBE_TIMEOUT: Final = 4.0

# For the one answer of an old handshake; every other request brings a deadline of its own.
HANDSHAKE_TIMEOUT: Final = 20.0

# Seconds between two looks at a server that tells of changes, or fails requests, without end.
LOOK_INTERVAL: Final = 0.1

# Closing in good order takes at most this long, a little less than a keeper gives.
CLOSE_TIMEOUT: Final = 1.8
STDIO_GRACE: Final = 1.0

# When the session is over, its requests end within a few steps of the loop.
WAKE_TIMEOUT: Final = 0.5


@attrs.define(eq=False)
class Slot(Generic[T]):
    """Where one caller waits for its answer."""

    call: Call = attrs.field(factory=Call)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    done: trio.Event = attrs.field(factory=trio.Event)
    since: float = attrs.field(factory=trio.current_time)
    answer: tuple[()] | tuple[T] = ()
    error: Exception | None = None


class McpLink:
    """A session that is open. Made by `open_link`.

    Args:
        server: What to talk to.
        tools_listed: Called with every fresh listing of the tools.
        wrote: Called with ``stderr`` or ``stdout`` and a line of a stdio server that is no message.

    Attributes:
        tools: What the server offers, by name, as last listed.
        protocol: Revision that was agreed on, such as ``2026-07-28``.
    """

    def __init__(
        self,
        server: McpServer,
        *,
        tools_listed: Callable[[dict[str, Tool]], None],
        wrote: Callable[[str, str], None],
    ) -> None:
        self.server = server
        self.tools: dict[str, Tool] = {}
        self.protocol = ""
        self._tools_listed = tools_listed
        self._transport: StdioTransport | HttpTransport = (
            StdioTransport(server, self._end, wrote)
            if isinstance(server, Stdio)
            else HttpTransport(server, self._end, self._look)
        )
        self._client: Client | None = None
        self._calls: trio.Nursery | None = None
        self._slots: set[Slot[Any]] = set()  # Of any type of answer.
        self._why: Exception | None = None  # Set once: the session takes no more requests.
        self._over, self._ended = trio.Event(), trio.Event()
        self._suspicion, self._idle = trio.Event(), trio.Event()
        self._overdue = False  # A request was not answered in time, and none since.
        self._session = trio.CancelScope()

    @property
    def lost(self) -> Exception | None:
        """Why the session takes no more requests; None while it does."""
        return self._why

    async def request(self, name: str, send: Callable[[Client], Awaitable[T]], *, timeout: float) -> T:
        """Make one request over this session.

        Args:
            name: What to call it in errors.
            send: Makes the request; runs in a task of the link and is cancelled when the caller goes away.
            timeout: Seconds after which the caller is free, in any case.

        Raises:
            NotAnswered: The session died or the time ran out; `sent` says whether the server has seen it.
            RequestRefused: The server answered with an error of JSON-RPC.
            BadAnswer: The server's answer is not valid.
        """
        try:
            return await self._ask(name, send, timeout)
        except NotAnswered as unanswered:
            self._overdue = self._overdue or unanswered.timed_out
            self._look()
            raise

    async def _ask(self, name: str, send: Callable[[Client], Awaitable[T]], timeout: float) -> T:
        await trio.lowlevel.checkpoint()
        if self._why is not None or self._client is None or self._calls is None:
            raise NotAnswered(self._why or SessionLost("the session is not open"), sent=Sent.NO)
        slot: Slot[T] = Slot()
        self._slots.add(slot)
        self._calls.start_soon(self._carry_out, slot, name, send, self._client)
        try:
            with trio.move_on_after(timeout):
                await slot.done.wait()
        finally:
            if not slot.done.is_set():
                slot.scope.cancel()
        return self._outcome(slot, timeout)

    async def probe(self) -> None:
        """List the tools anew, or ping a server that has none: a real round trip, answered to its own number.

        A server that works on one thing at a time may be too busy to answer. As long as a request in flight
        is within its own deadline, silence is no proof of death.

        Raises:
            Exception: Why the session cannot be trusted.
        """
        began = trio.current_time()
        try:
            await self.refresh()
        except NotAnswered as unanswered:
            busy = any(slot.since < began for slot in self._slots)
            if not (unanswered.timed_out and busy and not self._overdue):
                raise unanswered.why from None

    async def refresh(self) -> None:
        """List the tools anew; a server without tools is only asked whether it is there."""
        listed = await self._ask("probe", self._look_around, PROBE_TIMEOUT)
        self.tools = {tool.name: tool for tool in listed}
        self._tools_listed(self.tools)

    async def wait_lost(self) -> Exception:
        """Return why the session is over, once it is."""
        await self._over.wait()
        assert self._why is not None  # Set before the event.
        return self._why

    async def wait_idle(self) -> None:
        """Return when no request is in flight."""
        while self._slots:
            self._idle = trio.Event()
            await self._idle.wait()
        await trio.lowlevel.checkpoint()

    def describe(self) -> dict[str, int]:
        """For the tree: how many tools there are, and requests in flight."""
        return {"tools": len(self.tools), "in_flight": len(self._slots)}

    async def aclose(self) -> None:
        """Close the session; a stdio server gets a second to end by itself, then it is killed."""
        if self._why is None and isinstance(self._transport, StdioTransport):
            self._transport.grace = STDIO_GRACE
        self._end(SessionLost("closed by us"), in_order=True)
        try:
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self._ended.wait()
        finally:
            self._session.cancel()
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self._ended.wait()

    async def serve(self, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Open the session, keep it until it is over, and leave nothing behind.

        Raises:
            Exception: The session could not be opened; once it is open, nothing is raised.
        """
        try:
            async with trio.open_nursery() as self._calls:
                with self._session:
                    await self._keep_client(self._calls, lambda: task_status.started())
                with trio.move_on_after(WAKE_TIMEOUT):
                    await self.wait_idle()  # Its requests are being woken with what they have got.
                self._calls.cancel_scope.cancel()
        finally:
            self._end(SessionLost("the session was cancelled"))
            self._ended.set()
        if self._client is None and self._why is not None:
            raise self._why

    async def _keep_client(self, calls: trio.Nursery, opened: Callable[[], None]) -> None:
        """The one place that is inside ``async with Client``. Never waits for anything but the end."""
        try:
            async with Client(
                self._transport.streams(),
                mode=self.server.revision.value,
                read_timeout_seconds=HANDSHAKE_TIMEOUT,
                message_handler=self._hear,
                client_info=Implementation(name="resprout", version="0"),
                cache=None,  # A probe that is answered by a cache proves nothing.
            ) as client:
                self._client, self.protocol = client, client.protocol_version
                calls.start_soon(self._watch)
                opened()
                await self._over.wait()
        except Exception as error:  # noqa: BLE001 - whatever the SDK dies of ends this session and no more.
            self._end(self._reason(error))

    def _reason(self, error: Exception) -> Exception:
        """Why the SDK gave up, in our words."""
        if isinstance(self._transport, HttpTransport) and self._transport.last_failure is not None:
            return self._transport.last_failure
        match next(leaves(error)):
            case CannotStart() as known:
                return known
            case MCPError(message=message):
                lost = SessionLost(f"{self.server} refused the handshake: {message}")
            case other:
                lost = SessionLost(f"the session broke: {other!r}")
        lost.__cause__ = error
        return lost

    async def _carry_out(
        self, slot: Slot[T], name: str, send: Callable[[Client], Awaitable[T]], client: Client
    ) -> None:
        CURRENT.set(slot.call)  # This task's own context: nobody else sees it.
        try:
            with slot.scope:
                slot.answer = (await send(client),)
                self._overdue = False
        except MCPError as error:
            slot.error = self._judge(name, slot.call, error)
        except ReplyError as error:
            slot.error = error
        except Exception as error:  # noqa: BLE001 - judged here: the caller's fault or the server's.
            wrong_arguments = slot.call.sent is Sent.NO
            slot.error = error if wrong_arguments else BadAnswer(name, str(error) or repr(error))
        finally:
            self._slots.discard(slot)
            if not self._slots:
                self._idle.set()
            slot.done.set()

    def _judge(self, name: str, call: Call, error: MCPError) -> Exception:
        """What an error of the SDK means: an answer of the server, or none."""
        if call.failure is not None:
            return NotAnswered(call.failure, sent=call.sent, retry_after=call.retry_after)
        if error.code == CONNECTION_CLOSED:
            return NotAnswered(self._why or SessionLost(error.message), sent=call.sent)
        if error.code == REQUEST_TIMEOUT:
            return NotAnswered(TimeoutError(error.message), sent=call.sent, timed_out=True)
        self._overdue = False
        if error.code == PARSE_ERROR:  # Of the SDK: it could not read the answer.
            return BadAnswer(name, error.message)
        return RequestRefused(name, error.code, error.message)

    def _outcome(self, slot: Slot[T], timeout: float) -> T:
        match slot:
            case Slot(answer=(answer,)):
                return answer
            case Slot(error=Exception() as error):
                raise error
            case _ if self._why is not None:
                raise NotAnswered(self._why, sent=slot.call.sent)
            case _:
                why = TimeoutError(f"no answer within {timeout:.3g} s")
                raise NotAnswered(why, sent=slot.call.sent, timed_out=True)

    def _end(self, why: Exception, *, in_order: bool = False) -> None:
        """No more requests. The first reason counts. Unless *in_order*, the client goes at once."""
        if self._why is None:
            self._why = why
            self._over.set()
        if not in_order:
            self._session.cancel()

    def _look(self) -> None:
        """Something is odd: have the watch probe."""
        self._suspicion.set()

    async def _watch(self) -> None:
        """Look at the server whenever there is a reason to."""
        while True:
            await self._suspicion.wait()
            self._suspicion = trio.Event()
            try:
                await self.probe()
            except Exception as why:  # noqa: BLE001 - whatever it is, this session cannot be trusted.
                self._end(why)
            await trio.sleep(LOOK_INTERVAL)

    async def _look_around(self, client: Client) -> tuple[Tool, ...]:
        if client.server_capabilities.tools is not None:
            return await all_tools(client)
        if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            await client.session.send_discover(client.protocol_version)
        else:
            await client.session.send_ping()
        return ()

    async def _hear(self, message: IncomingMessage) -> None:
        """What the server says unasked."""
        await trio.lowlevel.checkpoint()
        if isinstance(message, ToolListChangedNotification):
            self._look()


async def open_link(
    server: McpServer,
    nursery: trio.Nursery,
    *,
    tools_listed: Callable[[dict[str, Tool]], None] = lambda _tools: None,
    wrote: Callable[[str, str], None] = lambda _stream, _line: None,
) -> McpLink:
    """Open a session with *server*; its task runs in *nursery*. One attempt, no deadline of its own.

    The tools are listed by the first `McpLink.probe`.

    Raises:
        SessionLost: The server did not start, did not shake hands, or ended.
        CannotStart: There is no such program.
        CredentialsRefused: The server wants other headers.
    """
    link = McpLink(server, tools_listed=tools_listed, wrote=wrote)
    await nursery.start(link.serve)
    return link
