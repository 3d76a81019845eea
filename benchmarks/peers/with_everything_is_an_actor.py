"""everything-is-an-actor: asyncio; awaited casts into a bounded mailbox, a deadline for each ask.

An actor is supervised by its parent, so one parent starts all others, in one message.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from actor_for_agents import (
    Actor,
    ActorRef,
    ActorSystem,
    MemoryMailbox,
    OneForOneStrategy,
    SupervisorStrategy,
)

from benchmarks.peers.workloads import MAILBOX, Peer, Work


class Adder(Actor):
    total = 0

    async def on_receive(self, message: int) -> int:
        if message < 0:
            raise RuntimeError
        self.total += message
        return self.total


class Station(Actor):
    following: ActorRef
    over: Callable[[], None]

    async def on_receive(self, message: Any) -> None:
        if isinstance(message, tuple):
            self.following, self.over = message
        elif message:
            await self.following.tell(message - 1)
        else:
            self.over()


class Parent(Actor):
    started = 0

    def supervisor_strategy(self) -> SupervisorStrategy:
        return OneForOneStrategy(max_restarts=1_000_000)

    async def on_receive(self, message: tuple[type[Actor], int]) -> list[ActorRef]:
        kind, count = message
        self.started += count
        numbers = range(self.started - count, self.started)
        return [await self.context.spawn(kind, str(n), mailbox_size=MAILBOX) for n in numbers]


class EverythingIsAnActor(Peer):
    package = "everything-is-an-actor"
    parent: ActorRef | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self.system = ActorSystem("bench")
        yield
        await self.system.shutdown()

    async def start(self, count: int, kind: type[Actor] = Adder) -> list[ActorRef]:
        if self.parent is None:
            self.parent = await self.system.spawn(Parent, "parent", mailbox=MemoryMailbox(MAILBOX))
        started: list[ActorRef] = await self.parent.ask((kind, count), timeout=60.0)
        return started

    async def stop(self) -> None:
        if self.parent is not None:
            self.parent.stop()
            await self.parent.join()
            self.system = ActorSystem("next")
            self.parent = None

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
        refs = await self.start(stations, Station)
        for number, ref in enumerate(refs):
            await ref.ask((refs[(number + 1) % stations], over))
        send: Callable[[int], Any] = refs[0].tell
        return send


if __name__ == "__main__":
    EverythingIsAnActor().main()
