"""Whole trees on virtual time under faults, all decided by one seed; a failure is shrunk and can be replayed.

A `Scenario` is a tree, the actions of its users and what must hold besides the promises of the runtime:

    def bank(dice: random.Random) -> Scenario:
        return Scenario(tree=supervisor("app", child("account", Account)), actions={"pay": pay}, invariants=[solvent])

    check(bank, seed=7)          # or: python -m resprout.testing.simulate bank_test:bank --seeds 1000
"""

from __future__ import annotations

import contextvars
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio
from trio.testing import MockClock

from resprout.runtime import Actor, ActorError, Crashed, Ref, ReplyError, System, control, open_runtime
from resprout.supervisors import SupervisorSpec
from resprout.testing.budget import RestartBudget
from resprout.testing.mailfaults import CALLS, CASTS, MailFaults
from resprout.testing.plans import Decision, Fault, Faults, Plan, draw, smallest
from resprout.testing.scheduling import seeded
from resprout.testing.striking import InjectedCrash
from resprout.testing.watching import Watcher, find

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from resprout.runtime import Event, Recipe, TraceEvent
    from resprout.runtime.cell import Cell

__all__ = [
    "Decision",
    "Fault",
    "Faults",
    "Outcome",
    "Plan",
    "Scenario",
    "SimulationFailed",
    "check",
    "plan_of",
    "shrink",
    "simulate",
]

LENGTH = 15.0
CALM = 60.0  # Virtual seconds without faults, in which everything must grow back.
HOPELESS = 10_000.0
MANY = 100_000


@attrs.frozen(kw_only=True)
class Scenario:
    """What is simulated; made anew for each run.

    Attributes:
        tree: A supervisor or a single child.
        actions: What users of the tree do, by name: ``async def action(runtime, dice)``. It may raise
            `ActorError` and `ReplyError`; any other exception is a failure.
        invariants: Asked whenever nobody can run: what is wrong, or an empty string.
    """

    tree: Recipe
    actions: Mapping[str, Callable[[System, random.Random], Awaitable[object]]] = attrs.field(factory=dict)
    invariants: Sequence[Callable[[System], str]] = ()


@attrs.define
class Outcome:
    """How one run went: what was *broken* first, if anything, and a *journal* equal for equal plans."""

    broken: str = ""
    journal: list[str] = attrs.field(factory=list)

    @property
    def promise(self) -> str:
        """The name of the promise that was broken."""
        return self.broken.partition(":")[0]


class SimulationFailed(AssertionError):
    """A promise was broken. *plan* is the smallest part of the seed's plan that still breaks it."""

    def __init__(self, plan: Plan, outcome: Outcome, only: str, scenario: str) -> None:
        said = [f"--only {only}"] + [f"--without {path}" for path in sorted(plan.without)]
        super().__init__(
            f"seed {plan.seed} broke a promise: {outcome.broken}\n"
            f"repeat the seed:          python -m resprout.testing.simulate {scenario}--seed {plan.seed}\n"
            f"repeat the smallest part: python -m resprout.testing.simulate {scenario}--seed {plan.seed} "
            f"{' '.join(said)}\n"
            + "\n".join(map(str, plan.decisions))
            + "\nWhat happened last:\n"
            + "\n".join(outcome.journal[-15:])
        )
        self.plan, self.outcome = plan, outcome


def plan_of(
    make: Callable[[random.Random], Scenario],
    seed: int,
    *,
    length: float = LENGTH,
    faults: Faults = Faults(),  # noqa: B008 - frozen
) -> Plan:
    """What *seed* will do to the scenario that *make* makes."""
    scenario = make(random.Random(seed))
    return draw(seed, length, faults, paths_of(scenario.tree, scenario.tree.id), sorted(scenario.actions))


def paths_of(tree: Recipe, path: str) -> list[str]:
    """The paths of *tree* and all that is described below it."""
    below = tree.children if isinstance(tree, SupervisorSpec) else ()
    return [path] + [each for child in below for each in paths_of(child, f"{path}/{child.id}")]


def check(
    make: Callable[[random.Random], Scenario], seed: int, *, length: float = LENGTH, name: str = ""
) -> Outcome:
    """Simulate *seed*. Raises `SimulationFailed`, with the smallest plan that fails, if a promise is broken."""
    plan = plan_of(make, seed, length=length)
    outcome = simulate(make, plan)
    if outcome.broken:
        small = shrink(make, plan, outcome)
        again = simulate(make, small)
        if not again.broken:  # Something besides the seed decides, such as state outside of the scenario.
            small, again = plan, attrs.evolve(outcome, broken=f"{outcome.broken} (it did not happen again)")
        numbers = ",".join(str(plan.decisions.index(each)) for each in small.decisions) or "none"
        raise SimulationFailed(small, again, numbers, f"{name} " if name else "")
    return outcome


def shrink(make: Callable[[random.Random], Scenario], plan: Plan, outcome: Outcome) -> Plan:
    """The smallest part of *plan* that breaks the same promise as *outcome*: fewer decisions, a smaller tree."""

    def fails(other: Plan) -> bool:
        return simulate(make, other).promise == outcome.promise

    def with_decisions(decisions: tuple[Decision, ...]) -> Plan:
        return attrs.evolve(plan, decisions=decisions)

    plan = with_decisions(smallest(plan.decisions, lambda part: fails(with_decisions(part))))
    tree = make(random.Random(plan.seed)).tree
    for path in paths_of(tree, tree.id)[1:]:
        if not any(path == gone or path.startswith(f"{gone}/") for gone in plan.without):
            fewer = attrs.evolve(plan, without=plan.without | {path})
            plan = fewer if fails(fewer) else plan
    return plan


def simulate(make: Callable[[random.Random], Scenario], plan: Plan) -> Outcome:
    """Run *plan* and say how it went."""
    scenario, outcome = make(random.Random(plan.seed)), Outcome()
    world = _World(scenario, plan, outcome)
    clock = MockClock(autojump_threshold=0)
    with seeded(plan.seed), world.mail.in_force(), world.budget.in_force():
        try:
            trio.run(world.run, clock=clock, instruments=[world])
        except trio.TrioInternalError:
            outcome.broken = outcome.broken or "everything ends: the simulation hangs"
    return outcome


class _World(trio.abc.Instrument):
    """One run of one plan."""

    def __init__(self, scenario: Scenario, plan: Plan, outcome: Outcome) -> None:
        self.scenario, self.plan, self.outcome = scenario, plan, outcome
        self.runtime: System | None = None
        self.watcher: Watcher | None = None
        self.context = contextvars.Context()
        self.scope = trio.CancelScope()
        self.starts: dict[str, Decision] = {}  # What the next start at a path meets.
        self.mail, self.budget = MailFaults(), RestartBudget()

    async def run(self) -> None:
        trio.lowlevel.spawn_system_task(self._give_up_hope)
        tree = self._prepared(self.scenario.tree, self.scenario.tree.id)
        async with open_runtime(tree, seed=self.plan.seed) as runtime:
            self.runtime, self.watcher = runtime, Watcher(runtime, self.budget)
            self.mail.begin(runtime, self.watcher)
            self.context = contextvars.copy_context()  # In which names lead into this tree.
            runtime.events.subscribe(self._event)
            with self.scope:
                async with trio.open_nursery() as users:
                    await self._follow(users)
                    with trio.move_on_after(CALM):
                        await runtime.wait()
                    users.cancel_scope.cancel()
                self.watcher.calm()
            if self.outcome.broken:
                runtime.abort()
        self.watcher.over()
        self._note_broken()

    async def _give_up_hope(self) -> None:
        await trio.sleep(HOPELESS)
        raise RuntimeError("the simulation hangs")

    async def _follow(self, users: trio.Nursery) -> None:
        for decision in self.plan.decisions:
            await trio.sleep_until(decision.at)
            self._carry_out(decision, users)
        self.starts.clear()
        self.mail.clear()

    def _carry_out(self, decision: Decision, users: trio.Nursery) -> None:
        assert self.runtime is not None
        if decision.fault is Fault.ACT:
            users.start_soon(self._act, decision)
            return
        cell = find(self.runtime, decision.path)
        if cell is None:
            return
        match decision.fault:
            case Fault.CRASH:
                cell.strike(Crashed(InjectedCrash("by the simulation")))
            case Fault.KILL:
                cell.kill("by the simulation")
            case Fault.SUSPEND:
                users.start_soon(self._suspend, cell, decision.seconds)
            case fault if fault in CASTS | CALLS:
                self.mail.expect(decision)
            case _:
                self.starts[decision.path] = decision

    async def _act(self, decision: Decision) -> None:
        assert self.runtime is not None
        try:
            await self.scenario.actions[decision.path](self.runtime, random.Random(decision.seed))
        except (ActorError, ReplyError) as error:
            self._note(f"{decision.path} got {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - an action that fails is what the simulation looks for.
            self._break(f"actions succeed or get a typed error: {decision.path} raised {error!r}")
        else:
            self._note(f"{decision.path} done")

    async def _suspend(self, cell: Cell, seconds: float) -> None:
        hold = control(Ref[Actor](cell))

        def looked(event: TraceEvent) -> None:
            now = cell.incarnation
            if now is not None and now.suspended:
                self._break(
                    f"a suspended actor does nothing: {event.what.value} {event.method} in {cell.path}"
                )

        try:
            await hold.trace(looked, limit=MANY)
            await hold.suspend()
            self._note(f"{cell.path} suspended")
            await trio.sleep(seconds)
            await hold.resume()
            await hold.untrace(looked)
        except ActorError as error:
            self._note(f"the hold on {cell.path} got {type(error).__name__}")

    # Looking.

    def before_io_wait(self, timeout: float) -> None:
        """trio has nothing to do: a quiet point."""
        if self.watcher is not None and not trio.lowlevel.current_statistics().tasks_runnable:
            self._look(partial(self.context.run, self._check_quiet))

    def _event(self, event: Event) -> None:
        assert self.watcher is not None
        self._note(f"{type(event).__name__} {event.actor}")
        self._look(self.watcher.event, event)

    def _check_quiet(self) -> None:
        assert self.runtime is not None
        assert self.watcher is not None
        self.watcher.quiet()
        for invariant in self.scenario.invariants:
            wrong = invariant(self.runtime)
            if wrong:
                self.watcher.breaks(getattr(invariant, "__name__", "invariant"), wrong)

    def _look(self, check: Callable[..., object], *args: object) -> None:
        """Check; a check that raises fails the simulation: trio and the event stream would only drop it."""
        try:
            check(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was checked.
            self._break(f"checks do not fail: {error!r}")
        self._note_broken()

    def _note(self, what: str) -> None:
        self.outcome.journal.append(f"{trio.current_time():9.3f} s  {what}")

    def _note_broken(self) -> None:
        if self.watcher is not None and self.watcher.broken:
            self._break(self.watcher.broken)

    def _break(self, what: str) -> None:
        if not self.outcome.broken:
            self.outcome.broken = what
            self.scope.cancel()

    # Acting upon starts and mail.

    def _prepared(self, spec: Any, path: str) -> Any:
        """*spec* without what the plan leaves out, and with starts that faults can meet."""
        if not isinstance(spec, SupervisorSpec):
            return attrs.evolve(spec, start=partial(self._start, spec.start, path))
        below = tuple(
            self._prepared(child, f"{path}/{child.id}")
            for child in spec.children
            if f"{path}/{child.id}" not in self.plan.without
        )
        made = spec.start
        if isinstance(made, partial) and made.args and isinstance(made.args[0], SupervisorSpec):
            made = partial(made.func, attrs.evolve(made.args[0], children=below), *made.args[1:])
        return attrs.evolve(spec, children=below, start=made)

    def _start(self, start: Callable[[], Actor], path: str) -> Actor:
        actor = start()
        decision = self.starts.pop(path, None)
        if decision is not None:
            actor.__class__ = _faulty(type(actor), decision)
        return actor


def _faulty(kind: type[Actor], decision: Decision) -> type[Actor]:
    """*kind* with a start that meets *decision*; of the same layout, so that an object can become one."""

    async def on_start(actor: Any) -> None:
        match decision.fault:
            case Fault.FAIL_START:
                raise InjectedCrash("its start, by the simulation")
            case Fault.HANG_START:
                await trio.sleep_forever()
            case _:
                await trio.sleep(decision.seconds)
        await kind.on_start(actor)

    return type(kind.__name__, (kind,), {"__slots__": (), "on_start": on_start})
