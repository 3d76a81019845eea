"""Histories of what runs beside the shared connection, while connections are cut, rotated and callers go away.

A real server, a proxy that cuts, and a second way around the proxy to see what really happened.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.on_down import WAIT
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.pubsub import MaybeMissed, Subscription
from resprout.actors.redis.transaction import RedisTransaction
from resprout.runtime.errors import OutcomeUnknown, Sent, ServiceError
from resprout.testing.faultproxy import FaultProxy, fault_proxy
from resprout.testing.toxics import BlackHole, Direction

pytestmark = pytest.mark.real

SEEDS = [1, 2]


@attrs.define
class Storm:
    """A server, the gate of a connection that suffers, and a client for one that does not."""

    gate: Gate[RedisLink]
    proxy: FaultProxy
    direct: RedisClient
    seed: random.Random
    cuts: int = 0

    async def cut(self) -> None:
        """Cut all connections again and again, some after replies have been swallowed."""
        while True:
            await trio.sleep(self.seed.uniform(0.01, 0.15))
            if self.seed.random() < 0.5:
                self.proxy.set(BlackHole(), on=Direction.REPLIES)
                await trio.sleep(0.02)
                self.proxy.set(on=Direction.REPLIES)
            self.proxy.reset()
            self.cuts += 1
            await self.is_back()

    async def rotate(self) -> None:
        """Replace the connection again and again, in good order."""
        while True:
            await trio.sleep(self.seed.uniform(0.01, 0.1))
            self.gate.rotate("the test wants it")
            self.cuts += 1

    async def is_back(self) -> None:
        with trio.move_on_after(1):
            while self.gate.live is None:
                self.gate.nudge()
                await trio.sleep(0.01)


@pytest.fixture
def storm(redis_at, kept):
    @asynccontextmanager
    async def start(seed: int) -> AsyncIterator[Storm]:
        async with (
            fault_proxy(redis_at.host, redis_at.port) as proxy,
            kept(redis_at.url) as direct,
            kept(f"redis://{proxy.host}:{proxy.port}") as gate,
        ):
            with trio.fail_after(30):
                yield Storm(gate, proxy, RedisClient(direct), random.Random(seed))

    return start


@attrs.define
class Told:
    """What callers were told, each call by its word."""

    answered: list[bytes] = attrs.field(factory=list)
    unsent: set[bytes] = attrs.field(factory=set)
    unknown: set[bytes] = attrs.field(factory=set)
    cancelled: set[bytes] = attrs.field(factory=set)

    async def note(self, word: bytes, call: Callable[[], Awaitable[bytes | None]], patience: float) -> None:
        """Make one call; what it returns is what it got, None is nothing."""
        with trio.move_on_after(patience) as scope:
            try:
                got = await call()
            except OutcomeUnknown:
                self.unknown.add(word)
            except ServiceError as error:
                (self.unsent if error.sent is Sent.NO else self.unknown).add(word)
            else:
                if got is not None:
                    self.answered.append(got)
        if scope.cancelled_caught:
            self.cancelled.add(word)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_subscriber_gets_nothing_foreign_nor_twice_and_no_gap_untold(seed: int, storm) -> None:
    async with storm(seed) as around:
        redis, direct = RedisClient(around.gate, on_down=WAIT), around.direct
        items, last, over = [], dict[str, int](), False

        async def publish() -> None:
            for number in range(1000):
                for channel in ("news", "user.ann", "foreign"):
                    await direct.publish(channel, f"{channel} {number}")
                if number % 10 == 0:
                    await trio.sleep(0.01)

        async def listen(subscription: Subscription) -> None:
            async for item in subscription:
                items.append(item)
                if len(items) == 5 or around.seed.random() < 0.01:
                    await trio.sleep(0.2)  # Long enough for some to be dropped.

        subscription = redis.subscribe("news", patterns=["user.*"], max_messages=10)
        async with subscription, trio.open_nursery() as nursery:
            nursery.start_soon(listen, subscription)
            async with trio.open_nursery() as faults:
                faults.start_soon(around.cut)
                await publish()
                faults.cancel_scope.cancel()
            around.proxy.set(on=Direction.REPLIES)
            while not over:
                await direct.publish("news", "news 1000")
                await trio.sleep(0.02)
                over = any(getattr(item, "data", None) == b"news 1000" for item in items)
            nursery.cancel_scope.cancel()
    untold = set[str]()
    for item in items:
        if isinstance(item, MaybeMissed):
            untold = set()
            continue
        channel, number = item.data.decode().split()
        if number == "1000":
            continue
        assert channel == item.channel in ("news", "user.ann")
        assert int(number) > last.get(channel, -1), "in order, and not twice"
        assert channel not in untold or int(number) == last[channel] + 1, "a gap that nobody told of"
        untold.add(channel)
        last[channel] = int(number)
    assert around.cuts > 3
    assert any(isinstance(item, MaybeMissed) and not item.dropped for item in items)


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_update_is_lost_or_doubled_and_a_lost_exec_is_called_unknown(seed: int, storm) -> None:
    async with storm(seed) as around:
        redis, told = RedisClient(around.gate, on_down=WAIT, timeout=3), Told()

        async def count(word: bytes) -> bytes:
            async def add_one(transaction: RedisTransaction) -> None:
                n = int(await transaction.get("n") or 0)
                transaction.queue.set("n", n + 1)
                transaction.queue.rpush("log", word)

            await redis.transact(add_one, "n")
            return word

        async def work(worker: int) -> None:
            for number in range(40):
                word = b"%d.%d" % (worker, number)
                patience = around.seed.choice([0.005, 0.02, 10, 10, 10])
                await told.note(word, lambda word=word: count(word), patience)

        async with trio.open_nursery() as faults:
            faults.start_soon(around.cut)
            async with trio.open_nursery() as workers:
                for worker in range(5):
                    workers.start_soon(work, worker)
            faults.cancel_scope.cancel()
        log = await around.direct.lrange("log", 0, -1)
        n = int(await around.direct.get("n") or 0)
    assert len(log) == len(set(log)) == n, "none twice, and none that overwrote another"
    assert set(told.answered) <= set(log), "what is acknowledged has happened"
    assert not told.unsent & set(log), "what is said to be unsent never happened"
    assert set(log) - set(told.answered) <= told.unknown | told.cancelled
    assert len(told.answered) > 50
    assert told.unknown
    assert told.cancelled
    assert around.cuts > 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["BLPOP", "BLMOVE"])
async def test_no_item_is_lost_or_handed_out_twice(seed: int, how: str, storm) -> None:
    async with storm(seed) as around:
        told, left = await consume(around, around.cut, how, patience=[0.001, 0.02, 5, 5, 5])
        moved = await around.direct.lrange("done", 0, -1)
    pushed = set(ITEMS)
    assert len(told.answered) == len(set(told.answered)), "handed out twice"
    assert set(told.answered) <= pushed - left
    missing = pushed - left - set(told.answered)
    if how == "BLMOVE":
        assert set(moved) == pushed - left, "what was taken is in the other list, whoever was cut off"
        assert Counter(moved).most_common(1)[0][1] == 1
    # With BLPOP these are gone: each belongs to a caller who was told so, or who went away himself.
    assert len(missing) <= len(told.unknown) + len(told.cancelled)
    assert told.unknown
    assert told.cancelled
    assert around.cuts > 3


@pytest.mark.parametrize("seed", SEEDS)
async def test_rotations_lose_no_item_at_all(seed: int, storm) -> None:
    async with storm(seed) as around:
        told, left = await consume(around, around.rotate, "BLPOP", patience=[10])
    assert sorted(told.answered) == sorted(set(ITEMS) - left)
    assert not told.unknown
    assert not told.unsent
    assert around.cuts > 5


ITEMS = [b"item %d" % number for number in range(250)]


async def consume(
    around: Storm, fault: Callable[[], Awaitable[None]], how: str, patience: list[float]
) -> tuple[Told, set[bytes]]:
    """Push all ITEMS and let ten workers take them during *fault*; returns what is left, too."""
    redis, told, over = RedisClient(around.gate, on_down=WAIT, timeout=3), Told(), False

    async def take() -> bytes | None:
        if how == "BLMOVE":
            return await redis.blmove("queue", "done", timeout=0.2)
        found = await redis.blpop(["queue"], timeout=0.2)
        return None if found is None else found[1]

    async def work(worker: int) -> None:
        number = 0
        while not over:
            number += 1
            await told.note(b"%d.%d" % (worker, number), take, around.seed.choice(patience))

    async with trio.open_nursery() as faults:
        faults.start_soon(fault)
        async with trio.open_nursery() as workers:
            for worker in range(10):
                workers.start_soon(work, worker)
            for item in ITEMS:
                await around.direct.rpush("queue", item)
                await trio.sleep(around.seed.choice([0, 0.001, 0.01]))
            await trio.sleep(0.1)
            over = True
        faults.cancel_scope.cancel()
    return told, set(await around.direct.lrange("queue", 0, -1))
