"""What goes wrong, one after the other, while the load runs."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import trio

from examples.chat.actors import ROOMS, TRENDING
from examples.chat.demo.books import Books
from examples.chat.demo.sabotage import (
    BreakableRooms,
    BreakableTrending,
    BreakableVerifier,
    BreakableWebSocketServer,
    Switch,
)
from examples.chat.demo.wait import until
from examples.chat.names import LIVE, POSTGRES_SERVER, REDIS_SERVER
from resprout import ActorStarted, Event, Name, System
from resprout.actors.process import Endpoint, ServerProcess
from resprout.runtime.breaker_events import BreakerChanged
from resprout.runtime.breaker_rules import Open
from resprout.supervisors import LimitReached

PATIENCE = 15.0  # Seconds after which a service that has not come back is a broken promise.
NOT_RUNNING = 0


@attrs.define
class Saboteur:
    """Breaks things, and waits until each has healed before it breaks the next."""

    runtime: System
    books: Books
    verifier: BreakableVerifier
    trending: Switch
    tell: Callable[[str], None]

    async def run(self) -> None:
        """All faults in turn; about half a minute."""
        await self._outage("kill -9 of Redis", ["redis", "chat", "auth"], self._kill_redis)
        await self._outage("Redis frozen for 3 s (SIGSTOP)", ["redis", "chat", "auth"], self._freeze_redis)
        await self._outage("kill -9 of Postgres", ["postgres", "chat"], self._kill_postgres)
        await self._outage("kill -9 of both", ["redis", "postgres", "chat", "auth"], self._kill_both)
        await self._outage("crash of the WebSocket server", ["websocket"], self._crash_live)
        await self._outage("MCP server killed in the middle of a call", ["mcp"], self._kill_tools)
        await self._outage("auth verifier fails until its breaker opens", ["auth", "chat"], self._break_auth)
        await self._outage("crash of the rooms actor", ["chat"], self._crash_rooms)
        await self._outage("crash loop beyond its supervisor's limit", ["trending"], self._crash_loop)

    async def _outage(self, title: str, hit: list[str], fault: Callable[[], Awaitable[None]]) -> None:
        services = [self.books.service(name) for name in hit]
        self.tell(title)
        for service in services:
            service.goes_down()
        await fault()
        for service in services:
            service.is_back()
        with trio.move_on_after(PATIENCE) as patience:
            await until(lambda: all(service.healthy for service in services))
        if patience.cancelled_caught:
            ill = ", ".join(service.name for service in services if not service.healthy)
            self.books.broken_promises.append(f"{title}: {ill} not back after {PATIENCE:g} s")
        self.tell(f"  back: {', '.join(_recovery(s.name, s.recovery_seconds) for s in services)}")
        await trio.sleep(1)

    # Each returns when the thing itself is there again: from then on recovery is measured.

    async def _kill_redis(self) -> None:
        await _kill(REDIS_SERVER)

    async def _kill_postgres(self) -> None:
        await _kill(POSTGRES_SERVER)

    async def _kill_both(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_kill, REDIS_SERVER)
            nursery.start_soon(_kill, POSTGRES_SERVER)

    async def _freeze_redis(self) -> None:
        pid = _pid(REDIS_SERVER)
        os.kill(pid, signal.SIGSTOP)
        try:
            await trio.sleep(3)
        finally:
            os.kill(pid, signal.SIGCONT)

    async def _crash_live(self) -> None:
        restarted = self._next(lambda event: isinstance(event, ActorStarted) and event.actor == LIVE.path)
        LIVE.cast(BreakableWebSocketServer.crash)  # type: ignore[arg-type] # The demo's tree has the breakable one.
        await restarted.wait()

    async def _crash_rooms(self) -> None:
        restarted = self._next(lambda event: isinstance(event, ActorStarted) and event.actor == ROOMS.path)
        ROOMS.cast(BreakableRooms.crash)  # type: ignore[arg-type] # as above
        await restarted.wait()

    async def _kill_tools(self) -> None:
        old = tools_processes()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: bool(tools_processes() - old))

    async def _break_auth(self) -> None:
        opened = self._next(lambda event: isinstance(event, BreakerChanged) and isinstance(event.new, Open))
        self.verifier.broken = True
        await opened.wait()
        self.verifier.broken = False

    async def _crash_loop(self) -> None:
        limit = self._next(lambda event: isinstance(event, LimitReached))
        before = self._answers_of_neighbours()
        self.trending.on = True
        TRENDING.cast(BreakableTrending.crash)  # type: ignore[arg-type] # as above
        await limit.wait()
        await trio.sleep(0.5)
        self.trending.on = False
        if self._answers_of_neighbours() <= before:
            self.books.broken_promises.append("the neighbours of a crash loop stopped serving")

    def _answers_of_neighbours(self) -> int:
        return sum(s.answered for s in self.books.services.values() if s.name != "trending")

    def _next(self, wanted: Callable[[Event], bool]) -> trio.Event:
        """Set when an event comes that is *wanted*."""
        seen = trio.Event()

        def look(event: Event) -> None:
            if wanted(event):
                seen.set()
                unsubscribe()

        unsubscribe = self.runtime.events.subscribe(look)
        return seen


async def _kill(server: Name[ServerProcess]) -> None:
    """SIGKILL; returns when its supervisor has it running again."""
    old = _pid(server)
    os.kill(old, signal.SIGKILL)
    await until(lambda: _pid(server) not in (old, NOT_RUNNING))


def _pid(server: Name[ServerProcess]) -> int:
    endpoint = server.offered(Endpoint)
    return endpoint.pid if endpoint is not None else NOT_RUNNING


def tools_processes() -> set[int]:
    """Pids of our MCP servers."""
    return {pid for pid in children_of(os.getpid()) if b"tools.py" in _command_line(pid)}


def children_of(parent: int) -> set[int]:
    """Pids of the living children of *parent*, from /proc."""
    return {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _parent_of(entry) == parent
    }


def living_in(directory: Path) -> set[int]:
    """Pids of processes whose working directory is *directory* or below it."""
    return {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _cwd(entry).is_relative_to(directory)
    }


def _cwd(process: Path) -> Path:
    try:
        return (process / "cwd").readlink()
    except OSError:
        return Path("/")


def _parent_of(process: Path) -> int | None:
    try:
        state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _recovery(name: str, seconds: list[float]) -> str:
    return f"{name} after {seconds[-1]:.2f} s" if seconds else f"{name} not yet"
