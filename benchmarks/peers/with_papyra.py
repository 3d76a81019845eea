"""papyra: anyio on asyncio; awaited casts into a bounded mailbox, a deadline only where asked for.

`spawn` does not wait for the start, so the last of many is asked once.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from papyra import Actor, ActorRef, ActorSystem
from papyra.supervision import Strategy, SupervisionPolicy

from benchmarks.peers.workloads import MAILBOX, Peer, Work

# A short window: a restart looks at every one before it that is still in it.
RESTART = SupervisionPolicy(strategy=Strategy.RESTART, max_restarts=1_000_000, within_seconds=0.01)


class Adder(Actor):
    total = 0

    async def receive(self, message: int) -> int:
        if message < 0:
            raise RuntimeError
        self.total += message
        return self.total


class Station(Actor):
    following: ActorRef
    over: Callable[[], None]

    async def receive(self, message: Any) -> None:
        if isinstance(message, tuple):
            self.following, self.over = message
        elif message:
            await self.following.tell(message - 1)
        else:
            self.over()


class Papyra(Peer):
    package = "papyra"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self.system = ActorSystem()
        await self.system.start()
        yield
        await self.system.aclose()

    async def start(self, count: int) -> list[ActorRef]:
        started = [self._spawn(Adder) for _ in range(count)]
        await started[-1].ask(0)
        return started

    def _spawn(self, kind: type[Actor]) -> ActorRef:
        return self.system.spawn(kind, mailbox_capacity=MAILBOX, policy=RESTART)

    async def stop(self) -> None:
        await self.system.aclose()
        self.system = ActorSystem()
        await self.system.start()

    def call(self, actor: ActorRef) -> Work:
        return partial(actor.ask, 1)

    def cast(self, actor: ActorRef) -> Work:
        return partial(actor.tell, 1)

    async def crash_and_ask(self, actor: ActorRef) -> None:
        try:
            await actor.ask(-1)
        except RuntimeError:
            await actor.ask(1)

    async def ring(self, stations: int, over: Callable[[], None]) -> Callable[[int], Any]:
        refs = [self._spawn(Station) for _ in range(stations)]
        for number, ref in enumerate(refs):
            await ref.ask((refs[(number + 1) % stations], over))
        send: Callable[[int], Any] = refs[0].tell
        return send


if __name__ == "__main__":
    Papyra().main()
