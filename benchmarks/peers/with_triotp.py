"""triotp: trio; casts wait until the actor takes them (a mailbox with room for none), a deadline only where asked for.

A call whose handler raises is never answered, so the crash is a handler that stops with an error. While the
replacement starts its name is unknown; the caller tries again until it is found.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import trio
import trio.testing
from triotp import application, dynamic_supervisor, gen_server, mailbox, node, supervisor

from benchmarks.peers.workloads import Peer, Work

GONE = (mailbox.MailboxDoesNotExist, trio.BrokenResourceError, trio.ClosedResourceError)


class Adder:
    """Stands for the module in which triotp expects the callbacks."""

    @staticmethod
    async def init(_: object) -> int:
        return 0

    @staticmethod
    async def handle_call(message: int, _caller: object, total: int) -> tuple[object, int]:
        if message < 0:
            return gen_server.Stop(RuntimeError()), total
        return gen_server.Reply(total + message), total + message

    @staticmethod
    async def handle_cast(message: int, total: int) -> tuple[object, int]:
        return gen_server.NoReply(), total + message

    @staticmethod
    async def terminate(_reason: object, _total: int) -> None:
        pass


class Station:
    @staticmethod
    async def init(argument: tuple[str, Callable[[], None]]) -> tuple[str, Callable[[], None]]:
        return argument

    @staticmethod
    async def handle_cast(left: int, state: tuple[str, Callable[[], None]]) -> tuple[object, object]:
        following, over = state
        if left:
            await gen_server.cast(following, left - 1)
        else:
            over()
        return gen_server.NoReply(), state


class TrioTP(Peer):
    package = "triotp"
    started = 0

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def start(_: object) -> None:
            async with self.opened():
                await main()

        module = SimpleNamespace(start=start, __name__="bench")
        node.run([application.app_spec(module=module, start_arg=None, permanent=False)])

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as self.nursery:
            yield
            await self.stop()

    async def start(self, count: int) -> list[str]:
        numbers = range(self.started, self.started + count)
        for number in numbers:
            await self._start(Adder, None, str(number))
        await trio.testing.wait_all_tasks_blocked()
        return [str(number) for number in numbers]

    async def _start(self, module: type, argument: object, name: str) -> None:
        """It returns once the one before has been started."""
        if not self.started:
            options = supervisor.options(max_restarts=1_000_000)
            self.scope = trio.CancelScope()
            self.over = trio.Event()
            self.pool = await self.nursery.start(self._supervise, options)
        self.started += 1
        task = supervisor.child_spec(id=name, task=gen_server.start, args=[module, argument, name])
        await dynamic_supervisor.start_child(self.pool, task)

    async def _supervise(self, options: Any, task_status: Any) -> None:
        with self.scope:
            await dynamic_supervisor.start(options, None, task_status)
        self.over.set()

    async def stop(self) -> None:
        if self.started:
            self.scope.cancel()
            await self.over.wait()
        self.started = 0

    def event(self) -> trio.Event:
        return trio.Event()

    async def together(self, work: Callable[[], Coroutine[Any, Any, None]], tasks: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(work)

    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()

    def call(self, actor: str) -> Work:
        return partial(gen_server.call, actor, 1)

    def cast(self, actor: str) -> Work:
        return partial(gen_server.cast, actor, 1)

    async def crash_and_ask(self, actor: str) -> None:
        try:
            await gen_server.call(actor, -1)
        except gen_server.GenServerExited:
            while True:
                try:
                    await gen_server.call(actor, 1)
                except GONE:
                    await trio.lowlevel.checkpoint()
                else:
                    return

    async def ring(self, stations: int, over: Callable[[], None]) -> Callable[[int], Awaitable[object]]:
        for number in range(stations):
            await self._start(Station, (str((number + 1) % stations), over), str(number))
        await trio.testing.wait_all_tasks_blocked()
        return partial(gen_server.cast, "0")


if __name__ == "__main__":
    TrioTP().main()
