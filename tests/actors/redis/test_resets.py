"""Counting through a proxy that cuts connections: nothing is counted twice, nothing acknowledged is lost."""

import random

import pytest
import trio

from resprout.actors.connection.on_down import WAIT
from resprout.actors.redis.client import RedisClient
from resprout.runtime.errors import OutcomeUnknown, Sent, ServiceError
from resprout.testing.faultproxy import fault_proxy
from resprout.testing.toxics import BlackHole, Direction

pytestmark = pytest.mark.real


async def test_ten_thousand_increments_under_resets_are_counted_at_most_once(redis_at, kept) -> None:
    seed, acknowledged, unknown, left = random.Random(5), 0, 0, 10_000
    refusals: list[Sent] = []
    async with fault_proxy(redis_at.host, redis_at.port) as proxy, kept(redis_at.url) as direct:
        async with kept(f"redis://{proxy.host}:{proxy.port}") as gate, trio.open_nursery() as faults:
            redis = RedisClient(gate, on_down=WAIT, timeout=2.0)

            async def cut() -> None:
                while True:
                    await trio.sleep(seed.uniform(0.01, 0.06))
                    if seed.random() < 0.5:  # Commands arrive and run, their replies never come.
                        proxy.set(BlackHole(), on=Direction.REPLIES)
                        await trio.sleep(0.02)
                        proxy.set(on=Direction.REPLIES)
                    proxy.reset()
                    await redis_is_back()

            async def redis_is_back() -> None:
                with trio.move_on_after(1):
                    while gate.live is None:
                        gate.nudge()
                        await trio.sleep(0.01)

            async def count() -> None:
                nonlocal acknowledged, unknown, left
                while left:
                    left -= 1
                    try:
                        await redis.incr("n")
                        acknowledged += 1
                    except OutcomeUnknown:
                        unknown += 1
                    except ServiceError as error:
                        refusals.append(error.sent)

            faults.start_soon(cut)
            with trio.fail_after(60):
                async with trio.open_nursery() as callers:
                    for _ in range(50):
                        callers.start_soon(count)
            faults.cancel_scope.cancel()
        counted = int(await RedisClient(direct).get("n") or 0)
    assert acknowledged + unknown + len(refusals) == 10_000
    assert set(refusals) <= {Sent.NO}
    assert unknown > 0, "the cuts must hit commands under way"
    assert acknowledged <= counted <= acknowledged + unknown
