"""otpylib: asyncio; mailboxes without a bound, a deadline only where asked for, calls that watch the callee.

It only works within a process of its own, so the workload runs as one, and so do clients and producers: two calls at
once from one process lose each other's replies. A call whose handler raises is never answered, so the crash is a
handler that stops with a reason. While the replacement starts its name is unknown; the caller looks until it is found.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from otpylib import dynamic_supervisor, gen_server, process
from otpylib.module import DYNAMIC_SUPERVISOR, GEN_SERVER, OTPModule
from otpylib.runtime import set_runtime
from otpylib.runtime.atoms import SHUTDOWN
from otpylib.runtime.backends.asyncio_backend.backend import AsyncIOBackend

from benchmarks.peers.workloads import Peer, Work


class Adder(metaclass=OTPModule, behavior=GEN_SERVER, version="1.0.0"):
    async def init(self, _: object) -> int:
        return 0

    async def handle_call(self, message: int, _caller: object, total: int) -> tuple[object, int]:
        if message < 0:
            return gen_server.Stop("crash"), total
        return gen_server.Reply(total + message), total + message

    async def handle_cast(self, message: int, total: int) -> tuple[object, int]:
        return gen_server.NoReply(), total + message

    async def handle_info(self, _message: object, total: int) -> tuple[object, int]:
        return gen_server.NoReply(), total

    async def terminate(self, _reason: object, _total: int) -> None:
        pass


class Station(metaclass=OTPModule, behavior=GEN_SERVER, version="1.0.0"):
    async def init(self, argument: object) -> object:
        return argument

    async def handle_call(self, message: Any, _caller: object, _: object) -> tuple[object, object]:
        return gen_server.Reply(None), message

    async def handle_cast(self, left: int, state: tuple[Any, Callable[[], None]]) -> tuple[object, object]:
        following, over = state
        if left:
            await gen_server.cast(following, left - 1)
        else:
            over()
        return gen_server.NoReply(), state

    async def handle_info(self, _message: object, state: object) -> tuple[object, object]:
        return gen_server.NoReply(), state

    async def terminate(self, _reason: object, _state: object) -> None:
        pass


class Pool(metaclass=OTPModule, behavior=DYNAMIC_SUPERVISOR, version="1.0.0"):
    async def init(self, _: object) -> tuple[list[object], object]:
        return [], dynamic_supervisor.options(max_restarts=1_000_000)

    async def terminate(self, _reason: object, _state: object) -> None:
        pass


class Otpylib(Peer):
    package = "otpylib"
    started = 0
    pool: Any = None

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        over: list[asyncio.Future[None]] = []

        async def as_process() -> None:
            async with self.opened():
                try:
                    await main()
                except BaseException as error:
                    over[0].set_exception(error)
                    raise
                over[0].set_result(None)

        async def whole() -> None:
            backend = AsyncIOBackend()
            await backend.initialize()
            set_runtime(backend)
            over.append(asyncio.get_running_loop().create_future())
            await process.spawn(as_process)
            await over[0]

        asyncio.run(whole())

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        yield

    async def together(self, work: Callable[[], Coroutine[Any, Any, None]], tasks: int) -> None:
        left, over = tasks, asyncio.Event()

        async def as_process() -> None:
            nonlocal left
            await work()
            left -= 1
            if not left:
                over.set()

        for _ in range(tasks):
            await process.spawn(as_process)
        await over.wait()

    async def start(self, count: int, kind: type = Adder) -> list[Any]:
        if self.pool is None:
            self.pool = await dynamic_supervisor.start_link(Pool)
        numbers = range(self.started, self.started + count)
        self.started += count
        return [await self._start(kind, str(number)) for number in numbers]

    async def _start(self, kind: type, id: str) -> Any:
        spec = dynamic_supervisor.child_spec(id=id, module=kind, name=f"actor {id}")
        _, pid = await dynamic_supervisor.start_child(self.pool, spec)
        return pid

    async def stop(self) -> None:
        await process.send(self.pool, SHUTDOWN)
        while len(process.processes()) > 1:  # noqa: ASYNC110 - it tells nobody of the end.
            await asyncio.sleep(0)
        self.pool = None

    def call(self, actor: Any) -> Work:
        return partial(gen_server.call, actor, 1)

    def cast(self, actor: Any) -> Work:
        return partial(gen_server.cast, actor, 1)

    async def crash_and_ask(self, actor: Any) -> None:
        before = process.whereis("actor 0")
        try:
            await gen_server.call("actor 0", -1)
        except gen_server.GenServerExited:
            while process.whereis("actor 0") in (None, before):  # noqa: ASYNC110 - it tells nobody.
                await asyncio.sleep(0)
            await gen_server.call("actor 0", 1)

    async def settle(self) -> None:
        """The supervisor has to watch a replacement before it ends, or it is never replaced."""
        await dynamic_supervisor.count_children(self.pool)

    async def ring(self, stations: int, over: Callable[[], None]) -> Callable[[int], Any]:
        refs = await self.start(stations, Station)
        for number, ref in enumerate(refs):
            await gen_server.call(ref, (refs[(number + 1) % stations], over))
        return partial(gen_server.cast, refs[0])


if __name__ == "__main__":
    Otpylib().main()
