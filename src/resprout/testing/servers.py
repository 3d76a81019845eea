"""Real servers for tests: started in milliseconds, killed, frozen and started again at the same port.

::

    async with redis_server() as server:
        client = connect(server.url)
        server.kill()                  # SIGKILL to all of its processes
        await server.restart()         # same port, same data
        server.freeze()                # SIGSTOP: sockets stay open, nothing answers
        server.thaw()
"""

import atexit
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from resprout.actors.process import recipes, users
from resprout.actors.process.launch import Endpoint, Server
from resprout.actors.process.place import Place
from resprout.actors.process.recipes import Fsync, ServerRecipe
from resprout.testing import temporary

_making = trio.Lock()
_template: Place | None = None


class LocalServer:
    """A server process on the loopback interface, with its data in a temporary directory."""

    def __init__(self, server: Server, endpoint: Endpoint) -> None:
        self._server, self._endpoint = server, endpoint

    @property
    def host(self) -> str:
        """Always the IPv4 loopback address."""
        return self._endpoint.host

    @property
    def port(self) -> int:
        """Stays the same over restarts."""
        return self._endpoint.port

    @property
    def url(self) -> str:
        """What a client connects to."""
        return self._endpoint.url

    @property
    def pid(self) -> int:
        """Of the latest start."""
        return self._endpoint.pid

    @property
    def running(self) -> bool:
        """False after `kill`, `stop` or an end of its own."""
        return self._server.process is not None and bool(self._server.process.family())

    def output(self) -> str:
        """The last lines it printed since its last start."""
        return self._server.tail()

    def kill(self) -> None:
        """SIGKILL it with all its processes. Does not wait; connections are reset within milliseconds."""
        if self._server.process is not None:
            self._server.process.kill()

    def freeze(self) -> None:
        """SIGSTOP all its processes: connections stay established and nothing answers."""
        if self._server.process is not None:
            self._server.process.freeze()

    def thaw(self) -> None:
        """SIGCONT all its processes."""
        if self._server.process is not None:
            self._server.process.thaw()

    async def stop(self) -> None:
        """Stop it in order, as an administrator would."""
        await self._server.stop()

    async def restart(self) -> None:
        """Start it again with the same port and data; kills it first if it runs. Returns when it answers."""
        await self._server.aclose()
        self._endpoint = await self._server.start()


@asynccontextmanager
async def server(recipe: ServerRecipe) -> AsyncIterator[LocalServer]:
    """Run any recipe in a temporary directory, which is removed at the end with all of its processes."""
    directory = await temporary.make(recipe.service)
    run = Server(recipe, directory)
    try:
        yield LocalServer(run, await run.start())
    finally:
        await run.aclose()
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def redis_server(
    *, fsync: Fsync = "always", arguments: Sequence[str] = ()
) -> AsyncIterator[LocalServer]:
    """Run an empty Redis (or Valkey). Every acknowledged write survives `LocalServer.kill`."""
    async with server(recipes.redis(fsync=fsync, arguments=arguments)) as running:
        yield running


@asynccontextmanager
async def postgres_server(*, settings: dict[str, str] | None = None) -> AsyncIterator[LocalServer]:
    """Run an empty Postgres, superuser ``postgres`` without a password; *settings* as in ``postgresql.conf``.

    initdb runs once per Python process; later servers start from a copy of its directory.
    """
    template = await _postgres_template()
    async with server(recipes.postgres(durable=False, template=template, settings=settings)) as running:
        yield running


async def _postgres_template() -> Path:
    """A data directory that was initialised, started once and stopped in order; made at first use."""
    global _template
    async with _making:
        if _template is None:
            directory = await temporary.make("initdb")
            first = Server(recipes.postgres(durable=False), directory)
            try:
                await first.start()
                await first.stop()
            finally:
                await first.aclose()
            _template = Place(directory)
            _template.hold(users.ourselves())  # Until Python ends: so long nobody may sweep it away.
            atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return _template.data / "pgdata"
