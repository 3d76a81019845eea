"""One cell of the matrix: a fault strikes a component at work, and the judge looks at what came of it."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import attrs
import trio

from resprout import testing
from resprout.runtime import Event, open_runtime
from resprout.supervisors import supervisor
from tests.faults.auth_stage import AuthStage
from tests.faults.catalogue import Act, Fault
from tests.faults.history import Call, Outcome
from tests.faults.judge import GRACE, Recovery, Violation, judge, recovery
from tests.faults.lag import Lag
from tests.faults.postgres_stage import PostgresStage
from tests.faults.redis_stage import RedisStage
from tests.faults.stage import CALLERS, Stage
from tests.faults.storm import storms

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


async def run_cell(names: Sequence[str], fault: Fault, *, quick: bool = False) -> list[Result]:
    """Let *fault* strike the components of these *names* while callers ask, and judge.

    Args:
        names: Of `STAGES`. More than one are struck at the same time, in one tree.
        fault: What happens.
        quick: As short as it can be: for a test that runs all the time.
    """
    if quick and fault.quick is not None:
        fault = attrs.evolve(fault, seconds=fault.quick)
    async with AsyncExitStack() as stack:
        stages = [await stack.enter_async_context(staged(name, quick=quick)) for name in names]
        for stage in stages:
            stage.hasty = fault.hasty
        tree = supervisor("app", *(supervisor(stage.name, *stage.children()) for stage in stages))
        async with open_runtime(tree) as runtime:
            for stage in stages:
                runtime.events.subscribe(partial(_keep_own, stage))
            seen = await _strike_at_work(stages, fault)
            imbalances = [await _settle(stage) for stage in stages]
        return [
            await _judge(stage, fault, seen, imbalance)
            for stage, imbalance in zip(stages, imbalances, strict=True)
        ]


def _keep_own(stage: Stage, event: Event) -> None:
    if event.actor.startswith(f"app/{stage.name}"):
        stage.events.append(event)


@attrs.frozen
class _Seen:
    struck_at: float
    healed_at: float
    well_at: float
    lag: float


async def _strike_at_work(stages: Sequence[Stage], fault: Fault) -> _Seen:
    lag = Lag()
    async with trio.open_nursery() as background:
        background.start_soon(lag.feel)
        async with trio.open_nursery() as callers:
            for stage in stages:
                for caller in range(CALLERS):
                    callers.start_soon(stage.work, caller)
            await _until_well(stages, trio.current_time(), limit=10)
            struck_at = trio.current_time()
            await _at_once(fault.strike, stages, callers)
            await trio.sleep(fault.seconds)
            await _at_once(fault.heal, stages, callers)
            healed_at = trio.current_time()
            await _until_well(stages, healed_at, fault.limit + 5 * QUIET)
            for stage in stages:
                stage.stopping = True
        background.cancel_scope.cancel()
    return _Seen(struck_at, healed_at, trio.current_time(), lag.worst)


async def _at_once(act: Act, stages: Sequence[Stage], callers: trio.Nursery) -> None:
    async with trio.open_nursery() as nursery:
        for stage in stages:
            nursery.start_soon(act, stage, callers)


async def _judge(stage: Stage, fault: Fault, seen: _Seen, imbalance: list[str]) -> Result:
    broken = judge(stage.history.calls, await stage.truth(), grace=GRACE + seen.lag)
    broken += _laws_of_life(stage, fault, seen, imbalance)
    return _result(stage, fault, seen, broken)


async def _until_well(stages: Sequence[Stage], since: float, limit: float) -> None:
    """Return when all are ready and all answers are good, or when there is no hope."""

    def is_well(stage: Stage) -> bool:
        return stage.ready() and recovery(stage.history.calls, since, quiet=QUIET).well is not None

    with trio.move_on_after(limit):
        while True:
            await trio.sleep(0.1)
            if all(map(is_well, stages)):
                return


async def _settle(stage: Stage) -> list[str]:
    """What is still wrong with the component some seconds after the last call."""

    def wrong() -> list[str]:
        return stage.imbalance() or ([] if stage.ready() else ["it is not ready"])

    with trio.move_on_after(5):
        while wrong():
            await trio.sleep(0.05)
    return wrong()


def _laws_of_life(stage: Stage, fault: Fault, seen: _Seen, imbalance: list[str]) -> list[Violation]:
    well = _recovery(stage, seen).well
    broken = []
    if well is None or well > fault.limit:
        broken.append(Violation("not well in time", 1, f"after {well} s, of {fault.limit:g} s"))
    if imbalance:
        broken.append(Violation("it has not settled", len(imbalance), imbalance[0]))
    if fault.together and (storm := storms(stage.attempts_failed(), seen.well_at - seen.struck_at)):
        broken.append(Violation("a retry storm", stage.attempts_failed(), storm))
    if restarts := stage.restarts():
        broken.append(Violation("an actor crashed", len(restarts), restarts[0]))
    return broken


def _recovery(stage: Stage, seen: _Seen) -> Recovery:
    """As it was when the stage was stopped: what was under way then had no second left to be quiet in."""
    calls = [
        call for call in stage.history.calls if call.ended_at is not None and call.ended_at <= seen.well_at
    ]
    return recovery(calls, seen.healed_at, quiet=QUIET)


def _result(stage: Stage, fault: Fault, seen: _Seen, broken: list[Violation]) -> Result:
    calls: list[Call] = stage.history.calls
    ended = Counter(call.outcome for call in calls)
    back = _recovery(stage, seen)
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
