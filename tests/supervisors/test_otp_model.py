"""Whole supervisors against a model of OTP's: any strategy, limit and family, any course of events.

After each event the children, their states, the count of them and the journal of starts and stops must be the
model's, and so must the answer to each request, and the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    GIVE_UP,
    PERMANENT,
    AutoShutdown,
    Backoff,
    ChildCounts,
    ChildError,
    ChildSpec,
    CoolDown,
    ExitReason,
    Killed,
    Name,
    Normal,
    RestartType,
    Shutdown,
    Strategy,
    Supervisor,
    open_runtime,
    supervisor,
)
from tests.supervisors.otp_model import ModelChild, ModelSupervisor
from tests.supervisors.players import Journal, Plan, crash, finish, player

if TYPE_CHECKING:
    from resprout import System

ROOT = Name(Supervisor, "root")
IDS = "abcdef"
ENDS: list[ExitReason] = [Normal(), Shutdown("enough"), Killed("by hand")]
SECONDS = [0.5, 1.0, 2.0, 4.5, 5.0, 20.0]  # Some of them edges of the period.

EVENTS = ["crash", "crash", "crash", "finish", "sleep", "sleep", "fail"]
REQUESTS = ["start", "start", "terminate", "terminate", "restart", "delete", "cycle", "retry", "retry"]
STEPS = st.lists(
    st.tuples(st.sampled_from(EVENTS + REQUESTS), st.sampled_from(IDS), st.integers(0, 11)), max_size=25
)


@st.composite
def models(draw: st.DrawFn) -> ModelSupervisor:
    model = ModelSupervisor(
        strategy=draw(st.sampled_from(Strategy)),
        intensity=draw(st.integers(0, 6)),
        period=5.0,
        auto_shutdown=draw(st.sampled_from(["never", "never", "any_significant", "all_significant"])),
        cool=draw(st.sampled_from([None, None, (2.0, 6.0)])),
    )
    for id in IDS[: draw(st.integers(1, 4))]:
        model.children.append(a_child(id, draw(st.integers(0, 11)), model))
    return model


def a_child(id: str, choice: int, model: ModelSupervisor) -> ModelChild:
    """One of twelve kinds of children; most are permanent, some wait before they restart."""
    restart = list(RestartType)[max(0, choice % 5 - 2)]
    may_count = restart is not PERMANENT and model.auto_shutdown != "never"
    delay = (1.25, 2.5)[choice % 2] if choice >= 8 else 0.0
    return ModelChild(id, restart, delay, significant=may_count and choice % 2 == 0)


class World:
    """The supervisor that is tested, beside its model."""

    def __init__(self, model: ModelSupervisor) -> None:
        self.model = model
        self.journal: Journal = []
        self.plans = {id: Plan() for id in IDS}
        self.runtime: System

    def tree(self) -> ChildSpec:
        model = self.model
        return supervisor(
            "app",
            *(self.spec(child) for child in model.children),
            name=ROOT,
            strategy=model.strategy,
            intensity=model.intensity,
            period=model.period,
            auto_shutdown=AutoShutdown(model.auto_shutdown),
            on_limit=GIVE_UP if model.cool is None else CoolDown(*model.cool),
        )

    def spec(self, child: ModelChild) -> ChildSpec:
        delay = child.delay
        return player(
            child.id,
            self.journal,
            self.plans[child.id],
            restart=child.restart,
            significant=child.significant,
            backoff=Backoff(delay, delay, delay) if delay else None,
        )

    async def step(self, verb: str, id: str, choice: int) -> None:
        model = self.model
        match verb:
            case "crash" if id in model.running():
                model.crash(id)
                crash(id)
            case "finish" if id in model.running():
                reason = ENDS[choice % 3]
                model.finish(id, killed=isinstance(reason, Killed))
                finish(id, reason)
            case "fail":
                model.failing[id] = self.plans[id].failing_starts = choice % 5
            case "sleep":
                model.advance(SECONDS[choice % len(SECONDS)])
                await trio.sleep(SECONDS[choice % len(SECONDS)])
            case "start":
                await self._ask(verb, a_child(id, choice, model))
            case "terminate" | "restart" | "delete" | "cycle" | "retry":
                await self._ask(verb, id)
            case _:
                pass

    async def _ask(self, verb: str, about: str | ModelChild) -> None:
        expected = getattr(self.model, f"{verb}_child")(about)
        argument = about if isinstance(about, str) else self.spec(about)
        answer = ""
        try:
            await ROOT.call(getattr(Supervisor, f"{verb}_child"), argument)
        except ChildError as error:
            answer = type(error).__name__
        assert answer == expected

    async def check(self) -> None:
        model = self.model
        assert self.journal == model.journal
        assert {id: plan.failing_starts for id, plan in self.plans.items() if plan.failing_starts} == {
            id: left for id, left in model.failing.items() if left
        }
        if model.ended:
            assert await self.runtime.wait() == Shutdown(model.ended)
            return
        seen = [(info.id, info.state) for info in await ROOT.call(Supervisor.which_children)]
        assert seen == [(child.id, child.state) for child in reversed(model.children)]
        assert await ROOT.call(Supervisor.count_children) == ChildCounts(
            len(model.children), len(model.running()), 0, len(model.children)
        )


@settings(max_examples=300, deadline=None)
@given(models(), STEPS)
def test_a_supervisor_does_what_otps_would(model: ModelSupervisor, steps: list[tuple[str, str, int]]) -> None:
    async def scenario() -> None:
        world = World(attrs.evolve(model, children=[attrs.evolve(child) for child in model.children]))
        for child in world.model.children:
            world.model._start(child)
        async with open_runtime(world.tree()) as world.runtime:
            await world.check()
            for step in steps:
                await world.step(*step)
                if world.model.tie:
                    return
                await wait_all_tasks_blocked()
                await world.check()
                if world.model.ended:
                    return

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
