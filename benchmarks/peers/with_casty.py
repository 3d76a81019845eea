"""casty: asyncio over a Rust core; casts do not wait, mailboxes without a bound, a deadline for each ask.

Its actors are virtual: the first message starts one, so a start is a call. Messages are encoded even within one
process. The total is a variable of the body; casty's replicated state would cost more. A full bounded mailbox
drops what is cast to it, so it is left unbounded.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from casty import ActorFailed, ActorSystem, Askable, Backoff, Context, Ref, actor

from benchmarks.peers.workloads import Peer, Work

AT_ONCE = Backoff(first=timedelta(0), limit=timedelta(0))
OVER: list[Callable[[], None]] = []


@dataclass(frozen=True)
class Cast:
    amount: int


@dataclass(frozen=True)
class Call(Askable[int]):
    amount: int


@dataclass(frozen=True)
class Token:
    left: int


@actor(initial=0, backoff=AT_ONCE)
async def adder(ctx: Context[int, Cast | Call]) -> None:
    total = 0
    async for message in ctx.inbox:
        if message.amount < 0:
            raise RuntimeError
        total += message.amount
        if isinstance(message, Call):
            message.reply_to.tell(total)


@actor(initial=0)
async def station(ctx: Context[int, Token | Call]) -> None:
    following: Ref[Token] | None = None
    async for message in ctx.inbox:
        if isinstance(message, Call):  # Names the next one.
            following = ctx.system.ref(station, str(message.amount))
            message.reply_to.tell(0)
        elif message.left and following is not None:
            following.tell(Token(message.left - 1))
        else:
            OVER[0]()


class Casty(Peer):
    package = "casty"
    cast_waits = False
    started = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await self._open()
        yield
        await self.system.__aexit__(None, None, None)

    async def _open(self) -> None:
        self.system = ActorSystem(backoff=AT_ONCE)
        await self.system.__aenter__()

    async def start(self, count: int) -> list[Ref[Cast | Call]]:
        numbers = range(self.started, self.started + count)
        self.started += count
        refs = [self.system.ref(adder, str(number)) for number in numbers]
        for ref in refs:
            await ref.ask(Call(0))
        return refs

    async def stop(self) -> None:
        await self.system.__aexit__(None, None, None)
        await self._open()

    def call(self, actor: Ref[Call]) -> Work:
        return partial(actor.ask, Call(1))

    def cast(self, actor: Ref[Cast]) -> Callable[[], None]:
        return partial(actor.tell, Cast(1))

    async def crash_and_ask(self, actor: Ref[Call]) -> None:
        try:
            await actor.ask(Call(-1))
        except ActorFailed:
            await actor.ask(Call(1))

    async def ring(self, stations: int, over: Callable[[], None]) -> Callable[[int], None]:
        OVER[:] = [over]
        refs = [self.system.ref(station, str(number)) for number in range(stations)]
        for number, ref in enumerate(refs):
            await ref.ask(Call((number + 1) % stations))
        return lambda hops: refs[0].tell(Token(hops))


if __name__ == "__main__":
    Casty().main()
