"""A stdio server as a child process: its pipes as the streams the SDK wants, its end as an error that says why.

The SDK has such a transport too. Ours differs where an outage is decided: it says why the server ended (exit
code and last words), bounds a line, notes what was written, kills a lost server at once instead of asking it
for four seconds, and kills its whole process group while the dead leader still holds the group's number.
"""

import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final

import anyio
import attrs
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from resprout.actors.mcp.call import CURRENT, Call
from resprout.actors.mcp.errors import CannotStart, SessionLost
from resprout.actors.mcp.group import ProcessGroup, how_it_ended
from resprout.actors.mcp.lines import LineReader, LineTooLong, readable
from resprout.actors.mcp.servers import Stdio
from resprout.runtime.errors import Sent

# When a server ends, what it wrote before is still in the pipes; but another process may hold them open.
LAST_WORDS: Final = 0.2

# More than the kernel needs to end what was killed; `ProcessGroup.end` has its own bounds within.
END_TIMEOUT: Final = 3.0

# A server that writes this many lines in a row that are no messages does not speak MCP at all.
MAX_GARBAGE_LINES: Final = 1_000

Incoming = SessionMessage | Exception
Line = tuple[bytes, Call | None]


@attrs.define(eq=False)
class StdioTransport:
    """One life of one server process.

    Attributes:
        server: What to start.
        lost: Called when the server ends or stops speaking the protocol, with the reason.
        wrote: Called with ``stderr`` or ``stdout`` and a line that is no message.
        grace: Seconds the server may take to end by itself once the session closes; 0 kills it at once.
    """

    server: Stdio
    lost: Callable[[Exception], None]
    wrote: Callable[[str, str], None]
    grace: float = 0.0
    _last_words: str = ""
    _garbage: int = 0

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Incoming], "Outgoing"]]:
        """Start the server, give the SDK its streams, and end the server for certain.

        Raises:
            CannotStart: There is no such program, or it cannot be run.
        """
        process = await self._start()
        assert process.stdin is not None  # Opened with pipes.
        assert process.stdout is not None
        assert process.stderr is not None
        group = ProcessGroup(process)
        messages, incoming = anyio.create_memory_object_stream[Incoming](0)
        requests, outgoing = anyio.create_memory_object_stream[Line](0)
        try:
            async with trio.open_nursery() as pumps:
                quiet, silent = trio.Event(), trio.Event()
                pumps.start_soon(self._read_messages, process.stdout, messages, quiet)
                pumps.start_soon(self._read_words, process.stderr, silent)
                pumps.start_soon(self._write_messages, process.stdin, outgoing)
                pumps.start_soon(self._watch, group, messages, quiet, silent)
                try:
                    yield incoming, Outgoing(requests)
                finally:
                    with trio.move_on_after(self.grace + END_TIMEOUT, shield=True):
                        await process.stdin.aclose()  # The polite way to ask a stdio server to end.
                        await group.end(self.grace)
                    pumps.cancel_scope.cancel()
        finally:
            for stream in (messages, incoming, requests, outgoing):
                stream.close()

    async def _start(self) -> trio.Process:
        try:
            return await trio.lowlevel.open_process(
                self.server.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**get_default_environment(), **self.server.env},
                cwd=self.server.cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotStart(f"cannot start {self.server.command[0]}: {error}") from error

    async def _read_messages(
        self, stdout: trio.abc.ReceiveStream, messages: MemoryObjectSendStream[Incoming], quiet: trio.Event
    ) -> None:
        try:
            async for line in LineReader(stdout, self.server.max_message_bytes):
                message = self._parse(line)
                if message is not None:
                    await messages.send(message)
        except LineTooLong as error:
            self.lost(SessionLost(f"{self.server}: {error}"))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # The pipe is gone; the watch says why.
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # The session has ended.
        quiet.set()

    def _parse(self, line: bytes) -> SessionMessage | None:
        """The message in *line*, if it is one. Servers print banners and warnings too: report these, go on."""
        try:
            message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError:
            self._garbage += 1
            if self._garbage <= MAX_GARBAGE_LINES:
                self.wrote("stdout", readable(line))
            else:
                self.lost(SessionLost(f"{self.server} writes text, not MCP: {readable(line)!r}"))
            return None
        self._garbage = 0
        return message

    async def _read_words(self, stderr: trio.abc.ReceiveStream, silent: trio.Event) -> None:
        try:
            async for line in LineReader(stderr, self.server.max_message_bytes):
                self._last_words = readable(line)
                self.wrote("stderr", self._last_words)
        except (LineTooLong, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # What it says on the side decides nothing.
        silent.set()

    async def _write_messages(
        self, stdin: trio.abc.SendStream, outgoing: MemoryObjectReceiveStream[Line]
    ) -> None:
        try:
            async for line, call in outgoing:
                if call is not None:
                    call.writing()
                await stdin.send_all(line)
                if call is not None:
                    call.sent = Sent.YES
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # Mostly it is about to exit, and then the watch knows more.
            await trio.sleep(LAST_WORDS)
            self.lost(SessionLost(f"{self.server} closed its input{self._words()}"))

    async def _watch(
        self,
        group: ProcessGroup,
        messages: MemoryObjectSendStream[Incoming],
        quiet: trio.Event,
        silent: trio.Event,
    ) -> None:
        """Wait for the end of the process or of its output, and say how it came."""
        code: int | None = None

        async def wait_exit() -> None:
            nonlocal code
            code = await group.wait()
            either.cancel_scope.cancel()

        async def wait_quiet() -> None:
            await quiet.wait()
            await trio.sleep(LAST_WORDS)  # Mostly it is about to exit: the exit code says more.
            either.cancel_scope.cancel()

        async with trio.open_nursery() as either:
            either.start_soon(wait_exit)
            either.start_soon(wait_quiet)
        with trio.move_on_after(LAST_WORDS):
            await quiet.wait()  # Answers that were written before the end still count.
            await silent.wait()
        how = "closed its output" if code is None else how_it_ended(code)
        self.lost(SessionLost(f"{self.server} {how}{self._words()}"))
        messages.close()  # Wakes whoever waits for an answer.

    def _words(self) -> str:
        return f"; its last words: {self._last_words!r}" if self._last_words else ""


class Outgoing:
    """The stream the SDK writes to: notes which call a message belongs to before the pipe's task takes it."""

    def __init__(self, lines: MemoryObjectSendStream[Line]) -> None:
        self._lines = lines

    async def send(self, item: SessionMessage, /) -> None:
        """Hand one message to the task that writes."""
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        await self._lines.send((text.encode() + b"\n", CURRENT.get()))

    async def aclose(self) -> None:
        """Take no more messages."""
        await self._lines.aclose()

    async def __aenter__(self) -> "Outgoing":
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()
