"""Runs one server at one place: started, watched, stopped, and started again with the same port and data."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import trio

from resprout.actors.process import users
from resprout.actors.process.binaries import find
from resprout.actors.process.installation import reachable
from resprout.actors.process.osprocess import OsProcess, spawn
from resprout.actors.process.place import Place, drop_stale_pid_file
from resprout.actors.process.ports import free_port, is_free
from resprout.actors.process.procfs import Identity
from resprout.actors.process.ready import Runs, answers
from resprout.actors.process.recipes import Prepare, ServerRecipe
from resprout.runtime.errors import ResproutError
from resprout.runtime.snapshot import Fact

_ASK_EVERY = 0.02  # Seconds between two readiness questions to a local server.
_ASK_WITHIN = 1.0  # Seconds for one answer; a server may take a connection long before it serves it.


class ServerStartFailed(ResproutError):
    """The server did not become ready, and nothing of it runs any more. *output* is what it printed last."""

    def __init__(self, service: str, why: str, output: str) -> None:
        super().__init__(f"{service} did not start: {why}" + (f"; it said:\n{output}" if output else ""))
        self.service, self.why, self.output = service, why, output


class NotRunning(ResproutError):
    """The server was not started, or was stopped."""

    def __init__(self, service: str) -> None:
        super().__init__(f"{service} is not running; start it first")
        self.service = service


@attrs.frozen
class Endpoint:
    """Where a running server is reached, and which process it is."""

    host: str
    port: int
    url: str
    pid: int

    def describe(self) -> Mapping[str, Fact]:
        """What the console shows beside the actor that offers it."""
        return {"pid": self.pid, "url": self.url}


class Server:
    """A server that lives at *directory*, whether it runs at the moment or not.

    `cleared` holds the processes of an earlier life which the last start found there and killed.

    Unless a port is given, a free one is chosen at the first start and kept, in the directory, for all later
    ones; only if somebody else has taken it by then is another chosen. One task at a time may start and stop
    it; `aclose` must be called in the end and leaves no process behind, whatever went before.
    """

    def __init__(
        self,
        recipe: ServerRecipe,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        user: str | None = None,
    ) -> None:
        self.recipe, self.host, self.port = recipe, host, port
        self.place = Place(directory.absolute())
        self._given_port = port
        self._user = user
        self._process: OsProcess | None = None
        self.cleared: tuple[Identity, ...] = ()
        self._program = Path()
        self._log_offset = 0

    @property
    def process(self) -> OsProcess | None:
        """The process, from its start until it was stopped; also after an exit nobody asked for."""
        return self._process

    def tail(self) -> str:
        """The last lines the server printed since its last start."""
        return self.place.tail(self._log_offset)

    async def start(self) -> Endpoint:
        """Kill what an earlier parent left here, prepare the data, start the process, wait until it answers.

        Raises:
            BinaryMissing: The program is not installed.
            PlaceBusy: A live program runs a server in this directory.
            UserError: We are root and the other user cannot be used.
            ServerStartFailed: It ended or gave no good answer in time.
        """
        if self._process is not None:
            raise RuntimeError(f"{self.recipe.service} was started already; stop or close it first")
        who = self._account()
        try:
            self.place.hold(who)
            self._program = await reachable(find(self.recipe.program), self.recipe.installed, who)
            self.cleared = await self.place.clear(str(self._program))
            if self.recipe.pid_file is not None:
                drop_stale_pid_file(Path(self._fill(self.recipe.pid_file)), str(self._program))
            await self._prepare(who)
            while not await self._try_start(who, self._choose_port()):
                pass
            return self.endpoint()
        except BaseException:
            await self.aclose()
            raise

    def endpoint(self) -> Endpoint:
        """Where it is reached.

        Raises:
            NotRunning: It was never started, or was stopped.
        """
        if self._process is None:
            raise NotRunning(self.recipe.service)
        return Endpoint(self.host, self.port, self._fill(self.recipe.url), self._process.pid)

    async def wait(self) -> int:
        """Wait until the process ends and return its exit code, negative for a signal.

        Raises:
            NotRunning: It was never started, or was stopped.
        """
        if self._process is None:
            raise NotRunning(self.recipe.service)
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, kill what lives on after the recipe's `stop_within`, and let go of the directory."""
        try:
            if self._process is not None:
                await self._process.stop(self.recipe.stop_signal, self.recipe.stop_within)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Kill all of it and let go of the directory. Idempotent, bounded, whole even when cancelled."""
        try:
            if self._process is not None:
                await self._process.aclose()
                self._process = None
                await self.place.clear(str(self._program))
        finally:
            self.place.release()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _choose_port(self) -> int:
        if self._given_port and not is_free(self.host, self._given_port):
            raise self._failed(f"port {self._given_port} is in use by another program")
        known = self._given_port or self.port or self.place.port
        return known if known and is_free(self.host, known) else free_port(self.host)

    async def _try_start(self, who: users.Account, port: int) -> bool:
        """Start on *port* once. False if somebody else took the port meanwhile and another may be tried."""
        self.port = port
        self._log_offset = self.place.log.stat().st_size if self.place.log.exists() else 0
        try:
            self._process = self._spawn((str(self._program), *self.recipe.arguments), who)
        except OSError as error:
            raise self._failed(str(error)) from error
        self.place.remember(self._process.identity, str(self._program))
        why = await self._await_ready(self._process)
        if why is None:
            self.place.port = port
            return True
        failure = self._failed(why)
        await self._process.aclose()
        self._process = None
        if self._given_port or is_free(self.host, port):
            raise failure
        return False

    async def _await_ready(self, process: OsProcess) -> str | None:
        """None when it has given its first good answer, else why it will not."""
        why: str | None = f"no good answer within {self.recipe.start_within:g} s"

        async def ended(cancel: trio.CancelScope) -> None:
            nonlocal why
            why = f"it ended with code {await process.wait()}"
            cancel.cancel()

        async def answered(cancel: trio.CancelScope) -> None:
            nonlocal why
            await self._ask_until_ready()
            if process.returncode is None:
                why = None
                cancel.cancel()

        with trio.move_on_after(self.recipe.start_within):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ended, nursery.cancel_scope)
                nursery.start_soon(answered, nursery.cancel_scope)
        return why

    async def _ask_until_ready(self) -> None:
        match self.recipe.ready:
            case Runs(settle=settle):
                await trio.sleep(settle)
            case ready:
                while True:
                    with trio.move_on_after(_ASK_WITHIN):
                        if await answers(ready, self.host, self.port):
                            return
                    await trio.sleep(_ASK_EVERY)

    async def _prepare(self, who: users.Account) -> None:
        """Make the data directory unless it is there; a half-made one is thrown away."""
        prepare = self.recipe.prepare
        if prepare is None or (self.place.data / prepare.makes).exists():
            return
        fresh = self.place.data / f"{prepare.makes}.new"
        await _in_thread(shutil.rmtree, fresh, True)
        if prepare.template is not None:
            await _in_thread(_copy_for, prepare.template, fresh, who)
        else:
            await self._run(prepare, who)
        fresh.rename(self.place.data / prepare.makes)

    async def _run(self, prepare: Prepare, who: users.Account) -> None:
        process = self._spawn(prepare.argv, who)
        code: int | None = None
        try:
            with trio.move_on_after(prepare.within):
                code = await process.wait()
        finally:
            await process.aclose()
        if code != 0:
            why = "not done in time" if code is None else f"ended with code {code}"
            raise self._failed(f"{Path(prepare.argv[0]).name} {why}")

    def _spawn(self, argv: tuple[str, ...], who: users.Account) -> OsProcess:
        recipe = self.recipe
        inherited = (
            os.environ if recipe.inherit else {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        )
        return spawn(
            [self._fill(text) for text in argv],
            env={**inherited, **{key: self._fill(text) for key, text in recipe.env.items()}},
            cwd=Path(self._fill(recipe.cwd)),
            log=self.place.log,
            who=who,
        )

    def _failed(self, why: str) -> ServerStartFailed:
        return ServerStartFailed(self.recipe.service, why, self.tail())

    def _fill(self, text: str) -> str:
        known = {"data": self.place.data, "host": self.host, "port": self.port, "bin": self._program.parent}
        for name, value in known.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def _account(self) -> users.Account:
        return users.account(self._user) if self._user or self.recipe.drops_root else users.ourselves()


def _copy_for(template: Path, target: Path, who: users.Account) -> None:
    shutil.copytree(template, target, symlinks=True)
    if who.drop:
        for folder, _, files in os.walk(target):
            os.chown(folder, who.uid, who.gid)
            for name in files:
                os.chown(Path(folder, name), who.uid, who.gid, follow_symlinks=False)


async def _in_thread(function: Callable[..., object], *args: object) -> None:
    await trio.to_thread.run_sync(function, *args)
