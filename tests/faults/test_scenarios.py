"""Two scenarios that need more than a cell of the matrix: many counts under resets, and a crowd that waits."""

from functools import partial

import pytest
import trio

from resprout.actors.connection import KeeperPolicy
from resprout.actors.redis import WAIT, RedisClient, RedisConnection
from resprout.runtime import open_runtime
from resprout.runtime.breaker_policy import BreakerPolicy
from resprout.supervisors import ChildSpec, child, supervisor
from tests.faults.cell import staged
from tests.faults.history import Kind, Outcome
from tests.faults.judge import GRACE, judge
from tests.faults.lag import Lag
from tests.faults.redis_stage import REDIS
from tests.faults.stage import CROWD, Stage
from tests.faults.storm import budget, storms

pytestmark = pytest.mark.real

COUNTERS, EACH = 100, 100


async def test_10_000_increments_under_resets_are_counted_once_or_not_at_all() -> None:
    client = RedisClient(REDIS, timeout=5, on_down=WAIT)
    async with staged("redis") as stage, open_runtime(_eager(stage)):

        async def count(caller: int) -> None:
            for _ in range(EACH):
                await stage.call(caller, Kind.COUNT, stage.value(caller), lambda: client.incr("count"), 5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_reset_now_and_then, stage)
            async with trio.open_nursery() as counters:
                for caller in range(COUNTERS):
                    counters.start_soon(count, caller)
            nursery.cancel_scope.cancel()
        truth = await stage.truth()
    assert judge(stage.history.calls, truth, grace=5) == []
    told = [call.outcome for call in stage.history.calls]
    assert len(told) == COUNTERS * EACH
    assert told.count(Outcome.OK) > 5_000
    assert told.count(Outcome.UNKNOWN) > 0
    assert stage.proxy.accepted > 3


def _eager(stage: Stage) -> ChildSpec:
    """A connection whose breaker asks again at once: here resets are all there is."""
    policy = KeeperPolicy(breaker=BreakerPolicy(open_for=0.05, open_cap=0.1))
    return child(
        "redis", partial(RedisConnection, stage.behind_proxy(stage.server.url), policy=policy), name=REDIS
    )


async def _reset_now_and_then(stage: Stage) -> None:
    while True:
        ended = len(stage.history.calls)
        while len(stage.history.calls) < ended + 500:
            await trio.sleep(0.002)
        stage.proxy.reset()


async def test_1_000_callers_who_wait_are_served_or_refused_in_time_and_nobody_stampedes() -> None:
    lag = Lag()
    async with (
        staged("redis", quick=True) as stage,
        open_runtime(supervisor("app", *stage.children())),
        trio.open_nursery() as watching,
    ):
        watching.start_soon(lag.feel)
        while not stage.ready():
            await trio.sleep(0.01)
        await stage.proxy.refuse()
        stage.proxy.reset()
        accepted = stage.proxy.accepted
        async with trio.open_nursery() as crowd:
            await stage.crowd(crowd)
            await trio.sleep(0.5)
            assert not any(call.outcome for call in stage.history.calls), "all of them wait"
            await stage.proxy.heal()
        violations = judge(stage.history.calls, await stage.truth(), grace=GRACE + lag.worst)
        watching.cancel_scope.cancel()
    assert violations == []
    assert stage.proxy.accepted - accepted == 1, "one connection serves them all"
    assert len(stage.history.calls) == CROWD
    assert sum(call.outcome is Outcome.OK for call in stage.history.calls) > CROWD // 2


@pytest.mark.parametrize(("failed", "is_storm"), [(5, False), (1_000, True)])
def test_a_storm_is_more_attempts_than_the_rule_of_backoff_allows(failed: int, is_storm: bool) -> None:
    assert bool(storms(failed, seconds=30)) == is_storm
    assert 5 < budget(30) < 100
