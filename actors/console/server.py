"""The actor through which an operator looks into a running tree."""

import os
from pathlib import Path
from typing import Final

import attrs
import trio

from resprout.actors.console.listen import ConsoleTakenError, is_allowed, listening
from resprout.actors.console.paths import APP_NAME, ConsolePathError, console_directory
from resprout.actors.console.verbs import RESTART_TIMEOUT, carry_out
from resprout.actors.console.wire import (
    MAX_REQUEST_BYTES,
    Code,
    RequestError,
    decode_request,
    encode_error,
    encode_result,
)
from resprout.runtime.actor import Actor
from resprout.runtime.backoff import Backoff, delay
from resprout.runtime.events import Event
from resprout.runtime.snapshot import Fact

CHUNK_BYTES: Final = 4_096

# Clients ask and go; a longer silence is a client that hangs.
IDLE_TIMEOUT: Final = 60.0

# Another runtime may have the name only until it has drained.
LISTEN_BACKOFF: Final = Backoff(floor=0.1, base=1.0, cap=30.0)


@attrs.frozen(kw_only=True)
class ConsoleOpened(Event):
    """The console listens at *path*."""

    path: str


@attrs.frozen(kw_only=True)
class ConsoleUnavailable(Event):
    """The console cannot listen, and *why*; it tries again after *retry_after* seconds. The tree runs on."""

    level = "error"

    why: str
    retry_after: float


@attrs.frozen
class Listening:
    """Where a console listens; what a `ConsoleServer` offers."""

    path: Path

    def describe(self) -> dict[str, Fact]:
        """Facts for the tree's snapshot."""
        return {"socket": str(self.path)}


@attrs.define
class ConsoleServer(Actor):
    """Answers the questions of ``resprout tree``, ``info`` and ``restart`` on a Unix socket of this user.

    A console that cannot listen never keeps a tree from running: it says so and tries again.

    Attributes:
        app: Name of the socket. By default the root's id, and with the process's number behind it if another
            runtime has that.
        directory: Where the socket is made; by default below ``$XDG_RUNTIME_DIR`` or ``/tmp``.
        max_connections: More are turned away.
    """

    app: str | None = None
    directory: Path | None = None
    max_connections: int = 16
    _connections: int = attrs.field(default=0, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.app is not None and not APP_NAME.fullmatch(self.app):
            raise ValueError(f"app must be letters, digits, '_', '-' and '.', not {self.app!r}")
        if self.max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {self.max_connections}")

    async def on_start(self) -> None:
        """Begin to listen."""
        self.context.start_soon(self._keep_listening)

    async def _keep_listening(self) -> None:
        names = self._names()
        failures = 0
        while True:
            await trio.lowlevel.checkpoint()
            name = names[min(failures, len(names) - 1)]
            try:
                async with listening(name, self.directory or console_directory()) as (path, listener):
                    failures = 0
                    self.context.offer(Listening(path))
                    self.context.emit(ConsoleOpened(actor=self.context.path, path=str(path)))
                    await self._accept(listener)
            except ConsoleTakenError as error:
                failures += 1
                if failures >= len(names):
                    await self._wait(error, failures)
            except (ConsolePathError, OSError) as error:
                failures += 1
                await self._wait(error, failures)

    def _names(self) -> list[str]:
        """Names to try, best first."""
        if self.app is not None:
            return [self.app]
        root = self.context.path.partition("/")[0]
        plain = root if APP_NAME.fullmatch(root) else "app"
        return [plain, f"{plain[:50]}-{os.getpid()}"]

    async def _wait(self, error: Exception, failures: int) -> None:
        seconds = delay(LISTEN_BACKOFF, failures, self.context.random)
        self.context.emit(ConsoleUnavailable(actor=self.context.path, why=str(error), retry_after=seconds))
        await trio.sleep(seconds)

    async def _accept(self, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as clients:
            await trio.serve_listeners(self._serve, [listener], handler_nursery=clients)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One client, from its first request to its last. Whatever it does harms only itself."""
        self._connections += 1
        try:
            async with stream:
                if not is_allowed(stream):
                    return
                if self._connections > self.max_connections:
                    refused = RequestError(
                        Code.REFUSED, f"{self.max_connections} clients are connected already"
                    )
                    await self._send(stream, encode_error(refused))
                    return
                await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # The client has gone, or hangs.
        finally:
            self._connections -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        buffer = bytearray()
        while True:
            end = buffer.find(b"\n")
            if end >= 0:
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                await self._send(stream, await self._answer(line))
                continue
            if len(buffer) > MAX_REQUEST_BYTES:
                long = RequestError(Code.BAD_REQUEST, f"a request has at most {MAX_REQUEST_BYTES} bytes")
                await self._send(stream, encode_error(long))
                return  # Where the next one would begin, nobody knows.
            with trio.fail_after(IDLE_TIMEOUT):
                chunk = await stream.receive_some(CHUNK_BYTES)
            if not chunk:
                return
            buffer += chunk

    async def _answer(self, line: bytes) -> bytes:
        try:
            request = decode_request(line)
            with trio.fail_after(2 * RESTART_TIMEOUT):
                return encode_result(await carry_out(self.context.cell.system, request))
        except RequestError as error:
            return encode_error(error)
        except trio.TooSlowError:
            return encode_error(RequestError(Code.TIMEOUT, "it took too long"))
        except Exception as error:
            self.context.log.exception("the console failed to answer")
            return encode_error(RequestError(Code.INTERNAL, f"the console failed: {error!r}; see the log"))

    async def _send(self, stream: trio.SocketStream, data: bytes) -> None:
        with trio.fail_after(IDLE_TIMEOUT):
            await stream.send_all(data)
