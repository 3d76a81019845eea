"""Calling tools over a connection that is kept alive: ``await assistant.call_tool("search", {"q": "trio"})``.

A call runs in its caller's task and goes straight to the session; the connection's actor is not in between.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, TypeVar

import trio
from mcp_types import TextContent

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.on_down import FAIL_FAST, WAIT, OnDown
from resprout.actors.connection.states import Stopped
from resprout.actors.mcp.errors import NotAnswered, ToolError
from resprout.actors.mcp.pages import all_prompts, all_resources, all_tools
from resprout.actors.mcp.tools import (
    Replay,
    ReplayPolicy,
    is_safe,
    may_repeat,
    pause_before,
)
from resprout.runtime.errors import DeadlineExceeded, OutcomeUnknown, Phase, Sent, ServiceError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp import Client
    from mcp_types import CallToolResult, GetPromptResult, Prompt, ReadResourceResult, Resource, Tool

    from resprout.actors.mcp.connection import McpConnection
    from resprout.actors.mcp.link import McpLink
    from resprout.runtime.ref import Address

T = TypeVar("T")

LOOK_AGAIN = 0.05  # Seconds between two looks for a connection whose actor is being restarted.


class McpClient:
    """The tools, resources and prompts of an MCP server.

    Args:
        connection: The name or ref of an `McpConnection`, or the gate of a connection kept by other means.
        timeout: Seconds a call may take in all, repetitions and waiting included.
        on_down: If there is no session when a call starts, raise `Unavailable` at once (FAIL_FAST) or WAIT.
            A call that may be repeated waits for the next session in any case: it is under way.
        replay: Whether a tool may be called again when its answer was lost.
        replays: How often.

    Every call may raise:
        Unavailable: there is no session; nothing was done.
        OutcomeUnknown: the request was written, its answer never came; the tool may have run or not.
        DeadlineExceeded: no answer in time; the request was not sent, or is safe to repeat.
        Draining: the connection is being stopped.
        RequestRefused: the server answered with an error of JSON-RPC.
        BadAnswer: the server's answer is not valid.
    """

    def __init__(
        self,
        connection: Address[McpConnection] | Gate[McpLink],
        *,
        timeout: float = 30.0,
        on_down: OnDown = FAIL_FAST,
        replay: Replay = Replay.ANNOTATED,
        replays: ReplayPolicy = ReplayPolicy(),  # noqa: B008 - frozen.
    ) -> None:
        self._connection, self._timeout = connection, _finite(timeout)
        self._on_down, self._replay, self._replays = on_down, replay, replays

    def using(
        self, *, timeout: float | None = None, on_down: OnDown | None = None, replay: Replay | None = None
    ) -> McpClient:
        """The same client with other rules: ``mcp.using(replay=Replay.ALWAYS).call_tool("put", …)``."""
        other = copy.copy(self)
        other._timeout = self._timeout if timeout is None else _finite(timeout)
        other._on_down = on_down or self._on_down
        other._replay = replay or self._replay
        return other

    async def call_tool(
        self, name: str, arguments: Mapping[str, object] | None = None, *, timeout: float | None = None
    ) -> CallToolResult:
        """Call the tool *name* and return its result; `structured_content` holds it as data where there is any.

        Raises:
            ToolError: The tool ran and says that it failed.
            ValueError: *arguments* are no JSON.
        """

        async def send(client: Client) -> CallToolResult:
            return await client.call_tool(name, dict(arguments or {}), read_timeout_seconds=seconds)

        seconds = self._timeout if timeout is None else _finite(timeout)
        result = await self._ask(
            f"tools/call {name}", send, seconds, lambda link: is_safe(link.tools.get(name), self._replay)
        )
        if result.is_error:
            raise ToolError(name, _text(result))
        return result

    async def list_tools(self, *, timeout: float | None = None) -> tuple[Tool, ...]:
        """The tools the server has now."""
        return await self._read("tools/list", all_tools, timeout)

    async def list_resources(self, *, timeout: float | None = None) -> tuple[Resource, ...]:
        """The resources the server has now."""
        return await self._read("resources/list", all_resources, timeout)

    async def read_resource(self, uri: str, *, timeout: float | None = None) -> ReadResourceResult:
        """The contents of the resource at *uri*."""
        return await self._read(f"resources/read {uri}", lambda client: client.read_resource(uri), timeout)

    async def list_prompts(self, *, timeout: float | None = None) -> tuple[Prompt, ...]:
        """The prompts the server has now."""
        return await self._read("prompts/list", all_prompts, timeout)

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> GetPromptResult:
        """The prompt *name*, filled in with *arguments*."""
        return await self._read(
            f"prompts/get {name}", lambda client: client.get_prompt(name, dict(arguments or {})), timeout
        )

    async def _read(self, name: str, send: Callable[[Client], Awaitable[T]], timeout: float | None) -> T:
        """Make a request that changes nothing, and may therefore be repeated."""
        seconds = self._timeout if timeout is None else _finite(timeout)
        return await self._ask(name, send, seconds, lambda _link: True)

    async def _ask(
        self,
        name: str,
        send: Callable[[Client], Awaitable[T]],
        timeout: float,
        is_safe: Callable[[McpLink], bool],
    ) -> T:
        """Make a request over the present session; again over the same or the next one where that is allowed."""
        deadline = trio.current_time() + timeout
        lost: NotAnswered | None = None
        attempt = 0
        while True:
            gate, link = await self._session(deadline, lost)
            safe = is_safe(link)
            try:
                answer = await link.request(name, send, timeout=deadline - trio.current_time())
            except NotAnswered as unanswered:
                if lost is not None and unanswered.sent is Sent.NO:
                    unanswered.sent = lost.sent  # What an earlier attempt has written stays written.
                if link.lost is not None:
                    gate.lost(link, link.lost)
                elif unanswered.timed_out or unanswered.retry_after is not None:
                    gate.failed(unanswered.why)
                attempt += 1
                pause = pause_before(unanswered, attempt, self._replays)
                late = pause is None or trio.current_time() + pause >= deadline
                if late or not may_repeat(unanswered, safe=safe):
                    raise _given_up(gate, unanswered, safe=safe) from unanswered.why
                lost = unanswered
                if gate.live is link:
                    await trio.sleep(pause or 0.0)
            else:
                gate.succeeded()
                return answer

    async def _session(self, deadline: float, lost: NotAnswered | None) -> tuple[Gate[McpLink], McpLink]:
        """The gate and its live link; *lost* says what happened to the call before."""
        wait = self._on_down is WAIT or (lost is not None and lost.sent is not Sent.NO)
        try:
            while True:
                gate = self._gate()
                if gate is not None:
                    if not wait or gate.live is not None:
                        return gate, gate.link()
                    if not isinstance(gate.state, Stopped) or gate is self._connection:
                        return gate, await gate.wait_link(deadline)
                if not wait or trio.current_time() + LOOK_AGAIN >= deadline:
                    raise self._no_session(gate)
                await trio.sleep(LOOK_AGAIN)
        except ServiceError as error:
            if lost is None or lost.sent is Sent.NO:
                raise
            # It was safe to repeat, or we were not here; but "nothing was done" would not be true.
            late = DeadlineExceeded(
                error.service,
                f"no answer within the deadline ({lost})",
                state=error.state,
                cause=lost.why,
                sent=lost.sent,
            )
            late.phase = Phase.CONNECT
            raise late from error

    def _no_session(self, gate: Gate[McpLink] | None) -> ServiceError:
        if gate is not None:
            return gate.refusal()
        return Unavailable("mcp", "its actor is not running", state="restarting", retry_after=0.25)

    def _gate(self) -> Gate[McpLink] | None:
        """The gate of the connection's present incarnation."""
        if isinstance(self._connection, Gate):
            return self._connection
        return self._connection.offered(Gate)


def _given_up(gate: Gate[McpLink], unanswered: NotAnswered, *, safe: bool) -> ServiceError:
    """What the caller gets when there will be no answer."""
    refusal = gate.refusal()
    kind: type[ServiceError]
    if unanswered.sent is not Sent.NO and not safe:
        kind, message = OutcomeUnknown, "no answer; the request may have run or not"
    elif unanswered.sent is Sent.NO and not unanswered.timed_out:
        kind, message = Unavailable, "the request was not sent"
    else:
        kind, message = DeadlineExceeded, "no answer in time"
    error = kind(
        gate.service,
        f"{message} ({unanswered})",
        state=gate.state.name,
        retry_after=unanswered.retry_after if unanswered.retry_after is not None else refusal.retry_after,
        cause=unanswered.why,
        sent=unanswered.sent,
    )
    if isinstance(error, DeadlineExceeded):
        error.phase = Phase.WRITE if unanswered.sent is Sent.NO else Phase.READ
    return error


def _text(result: CallToolResult) -> str:
    """What a failed tool says."""
    texts = [part.text for part in result.content if isinstance(part, TextContent)]
    return "\n".join(texts) or "it did not say why"


def _finite(timeout: float) -> float:
    if not 0 < timeout < math.inf:
        raise ValueError(f"timeout must be more than 0 s and finite, not {timeout!r}")
    return timeout
