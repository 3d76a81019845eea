"""The actor that owns a process of the operating system."""

import os
from functools import partial
from pathlib import Path
from typing import TypedDict

import attrs
import trio

from resprout.actors.process.events import LeftoverKilled, ProcessExited, ProcessReady, ProcessStopped
from resprout.actors.process.launch import Endpoint, NotRunning, Server
from resprout.actors.process.recipes import ServerRecipe
from resprout.runtime import Actor, ExitReason, Name, ResproutError
from resprout.supervisors import ChildSpec, child

_TRIM_EVERY = 60.0  # Seconds between two looks at the size of the log.
_MARGIN = 5.0  # Seconds a supervisor grants beyond the times of the recipe, for what surrounds them.


class ProcessFacts(TypedDict):
    """The fields that all `ProcessEvent`s share."""

    actor: str
    service: str
    pid: int


class ProcessEnded(ResproutError):
    """The server's process ended although nobody had asked it to. Crashes its actor, which is restarted."""

    def __init__(self, service: str, code: int, output: str) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        last_words = output.rstrip().rpartition("\n")[2]  # All of them are in the event.
        super().__init__(f"{service} {how}" + (f"; its last words: {last_words}" if last_words else ""))
        self.service, self.code, self.output = service, code, output


@attrs.frozen(kw_only=True)
class ProcessInfo:
    """What `ServerProcess.info` knows.

    Attributes:
        service: What runs.
        endpoint: Where it is reached, and its process id.
        directory: Where it lives.
        processes: How many processes it consists of now; 0 if it has just ended.
        age: Seconds since it was ready.
    """

    service: str
    endpoint: Endpoint
    directory: Path
    processes: int
    age: float


@attrs.define
class ServerProcess(Actor):
    """Runs the server of *recipe* in *directory* and offers its `Endpoint` while it runs.

    The start waits until the server answers: it is local. When the process ends unasked, the actor crashes
    and its supervisor starts it again, at the same port with the same data. However the actor ends, the
    process ends with it: asked to stop, then killed. What a killed parent left running in *directory* is
    killed before the next start.

    Attributes:
        recipe: What to run: `redis()`, `postgres()`, `command([...])` or one of your own.
        directory: Where it lives; by default `default_directory` of the actor's path.
        host: Where it listens.
        port: Where it listens; 0 chooses a free one at the first start and keeps it.
        user: As whom it runs if we are root; by default ``nobody`` for Redis and Postgres.
    """

    recipe: ServerRecipe
    directory: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    user: str | None = None
    _server: Server | None = attrs.field(default=None, init=False)
    _ready_at: float = attrs.field(default=0.0, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    _exited: bool = attrs.field(default=False, init=False)

    async def on_start(self) -> None:
        """Start the server and wait for its first good answer.

        Raises:
            ResproutError: `BinaryMissing`, `PlaceBusy`, `UserError` or `ServerStartFailed`.
        """
        begun = trio.current_time()
        directory = self.directory or default_directory(self.context.path)
        server = Server(self.recipe, directory, host=self.host, port=self.port, user=self.user)
        endpoint = await server.start()
        # No checkpoint from here to the end: from now on it is the guard that leaves no process behind.
        self._server, self._ready_at = server, trio.current_time()
        self.context.start_soon(self._guard, server)
        self.context.start_soon(_trim_log, server)
        self.context.offer(endpoint)
        self._report(server, endpoint, after=self._ready_at - begun)

    async def on_stop(self, reason: ExitReason) -> None:
        """Ask the server to end; kill it if it takes longer than its recipe or our shutdown time allows."""
        self._stopping = True
        server = self._running()
        process = server.process
        await server.stop()
        if process is not None and not self._exited:
            self.context.emit(ProcessStopped(**self._facts(process.pid), code=process.returncode))

    async def info(self) -> ProcessInfo:
        """Where and since when it runs."""
        server = self._running()
        return ProcessInfo(
            service=self.recipe.service,
            endpoint=server.endpoint(),
            directory=server.place.path,
            processes=len(server.process.family()) if server.process is not None else 0,
            age=trio.current_time() - self._ready_at,
        )

    async def output(self) -> str:
        """The last lines it printed since its start."""
        return self._running().tail()

    async def signal(self, number: int) -> bool:
        """Send a signal to the server's first process alone, as an administrator would; False if it is gone."""
        process = self._running().process
        return process is not None and process.signal(number)

    async def kill(self) -> None:
        """SIGKILL all its processes: a crash for tests. The supervisor starts it again."""
        if (process := self._running().process) is not None:
            process.kill()

    async def freeze(self) -> None:
        """SIGSTOP all its processes: connections stay open and nothing answers, until `thaw`."""
        if (process := self._running().process) is not None:
            process.freeze()

    async def thaw(self) -> None:
        """SIGCONT all its processes."""
        if (process := self._running().process) is not None:
            process.thaw()

    async def _guard(self, server: Server) -> None:
        """See the end of the process, or make it: also runs its end when the actor is killed."""
        try:
            pid, code = server.endpoint().pid, await server.wait()
            if not self._stopping:
                self._exited = True
                self.context.emit(ProcessExited(**self._facts(pid), code=code, output=server.tail()))
                raise ProcessEnded(self.recipe.service, code, server.tail())
        finally:
            await server.aclose()

    def _running(self) -> Server:
        if self._server is None:
            raise NotRunning(self.recipe.service)
        return self._server

    def _report(self, server: Server, endpoint: Endpoint, after: float) -> None:
        for leftover in server.cleared:
            self.context.emit(LeftoverKilled(**self._facts(leftover.pid)))
        self.context.emit(ProcessReady(**self._facts(endpoint.pid), url=endpoint.url, after=after))

    def _facts(self, pid: int) -> ProcessFacts:
        return {"actor": self.context.path, "service": self.recipe.service, "pid": pid}


def server_child(
    id: str,
    recipe: ServerRecipe,
    *,
    directory: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    user: str | None = None,
    name: Name[ServerProcess] | None = None,
) -> ChildSpec:
    """A child spec with a `ServerProcess` whose start and shutdown times fit *recipe*."""
    return child(
        id,
        partial(ServerProcess, recipe, directory, host, port, user),
        name=name,
        start_timeout=recipe.start_within + (recipe.prepare.within if recipe.prepare else 0.0) + _MARGIN,
        shutdown=recipe.stop_within + _MARGIN,
    )


def default_directory(path: str) -> Path:
    """Where the server of the actor at *path* lives unless told: below the state directory of this user.

    ``RESPROUT_STATE`` names that; else it is ``/var/lib/resprout`` for root, and for other users
    ``resprout`` in ``XDG_STATE_HOME`` or ``~/.local/state``.
    """
    if chosen := os.environ.get("RESPROUT_STATE"):
        base = Path(chosen)
    elif os.geteuid() == 0:
        base = Path("/var/lib/resprout")  # Not below root's home, where the server's user could not go.
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "resprout"
    return base / path.replace("/", ".")


async def _trim_log(server: Server) -> None:
    while True:
        await trio.sleep(_TRIM_EVERY)
        server.place.trim_log()
