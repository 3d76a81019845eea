"""One cell of the matrix: a fault strikes a component at work, and the judge looks at what came of it."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from resprout import testing
from resprout.runtime import open_runtime
from resprout.supervisors import supervisor
from tests.faults.auth_stage import AuthStage
from tests.faults.catalogue import Fault
from tests.faults.history import Call, Outcome
from tests.faults.judge import GRACE, Violation, judge, recovery
from tests.faults.lag import Lag
from tests.faults.postgres_stage import PostgresStage
from tests.faults.redis_stage import RedisStage
from tests.faults.stage import CALLERS, Stage

STAGES: dict[str, type[Stage]] = {stage.name: stage for stage in (RedisStage, PostgresStage, AuthStage)}
QUIET = 1.0  # Seconds without a bad answer after which all is well.


@attrs.frozen(kw_only=True)
class Result:
    """What came of one fault. Durations in seconds.

    Attributes:
        component: What was struck.
        code: Number of the fault.
        fault: Its name.
        lasted: From the strike to the end of the healing.
        first: From there to the first good answer to a new call; None for never.
        well: From there to the last bad answer; None if there was no end to them.
        ok: Calls that were answered.
        failed: Calls refused with a typed error: nothing was done.
        unknown: Calls that may have run: a typed error says so, or the caller left.
        attempts: Attempts to connect that failed.
        lag: How long this process itself, at worst, did not come to its turn.
        violations: Broken laws. There are none.
    """

    component: str
    code: str
    fault: str
    lasted: float
    first: float | None
    well: float | None
    ok: int
    failed: int
    unknown: int
    attempts: int
    lag: float
    violations: list[str]


@asynccontextmanager
async def staged(name: str, *, quick: bool = False) -> AsyncIterator[Stage]:
    """A stage with an empty server, prepared; its component does not run yet. *quick*: see `Stage.quick`."""
    make = testing.postgres_server if name == PostgresStage.name else testing.redis_server
    async with make() as server, testing.fault_proxy(server.host, server.port) as proxy:
        stage = STAGES[name](server, proxy, quick=quick)
        await stage.prepare()
        yield stage


async def run_cell(name: str, fault: Fault, *, quick: bool = False) -> Result:
    """Let *fault* strike the component called *name* while callers ask, and judge.

    Args:
        name: One of `STAGES`.
        fault: What happens.
        quick: As short as it can be: for a test that runs all the time.
    """
    if quick:
        fault = attrs.evolve(fault, seconds=fault.seconds if fault.quick is None else fault.quick)
    async with (
        staged(name, quick=quick) as stage,
        open_runtime(supervisor("app", *stage.children())) as runtime,
    ):
        stop = runtime.events.subscribe(lambda event: stage.events.append(event))
        seen = await _strike_at_work(stage, fault)
        imbalance = await _settle(stage)
        stop()
        truth = await stage.truth()
    broken = judge(stage.history.calls, truth, grace=GRACE + seen.lag)
    broken += _laws_of_life(stage, fault, seen.healed_at, imbalance)
    return _result(stage, fault, seen, broken)


@attrs.frozen
class _Seen:
    struck_at: float
    healed_at: float
    lag: float


async def _strike_at_work(stage: Stage, fault: Fault) -> _Seen:
    lag = Lag()
    async with trio.open_nursery() as background:
        background.start_soon(lag.feel)
        async with trio.open_nursery() as callers:
            for caller in range(CALLERS):
                callers.start_soon(stage.work, caller)
            await _until_well(stage, trio.current_time(), limit=10)
            struck_at = trio.current_time()
            await fault.strike(stage, callers)
            await trio.sleep(fault.seconds)
            await fault.heal(stage, callers)
            healed_at = trio.current_time()
            await _until_well(stage, healed_at, fault.limit + 5 * QUIET)
            stage.stopping = True
        background.cancel_scope.cancel()
    return _Seen(struck_at, healed_at, lag.worst)


async def _until_well(stage: Stage, since: float, limit: float) -> None:
    """Return when it is ready and all answers are good, or when there is no hope."""
    with trio.move_on_after(limit):
        while True:
            await trio.sleep(0.1)
            if stage.ready() and recovery(stage.history.calls, since, quiet=QUIET).well is not None:
                return


async def _settle(stage: Stage) -> list[str]:
    """What is still wrong with the component some seconds after the last call."""

    def wrong() -> list[str]:
        return stage.imbalance() or ([] if stage.ready() else ["it is not ready"])

    with trio.move_on_after(5):
        while wrong():
            await trio.sleep(0.05)
    return wrong()


def _laws_of_life(stage: Stage, fault: Fault, healed_at: float, imbalance: list[str]) -> list[Violation]:
    well = recovery(stage.history.calls, healed_at, quiet=QUIET).well
    broken = []
    if well is None or well > fault.limit:
        broken.append(Violation("not well in time", 1, f"after {well} s, of {fault.limit:g} s"))
    if imbalance:
        broken.append(Violation("it has not settled", len(imbalance), imbalance[0]))
    if restarts := stage.restarts():
        broken.append(Violation("an actor crashed", len(restarts), restarts[0]))
    return broken


def _result(stage: Stage, fault: Fault, seen: _Seen, broken: list[Violation]) -> Result:
    calls: list[Call] = stage.history.calls
    ended = Counter(call.outcome for call in calls)
    back = recovery(calls, seen.healed_at, quiet=QUIET)
    return Result(
        component=stage.name,
        code=fault.code,
        fault=fault.name,
        lasted=seen.healed_at - seen.struck_at,
        first=back.first,
        well=back.well,
        ok=ended[Outcome.OK],
        failed=ended[Outcome.FAILED],
        unknown=ended[Outcome.UNKNOWN],
        attempts=stage.attempts_failed(),
        lag=seen.lag,
        violations=[str(each) for each in broken],
    )
