"""Trees under faults decided by a seed: the runtime keeps its promises, and a bug is found, named and shrunk."""

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from weakref import WeakKeyDictionary

import attrs
import pytest
import trio
from trio._core import _run as trio_run

from resprout import (
    ONE_FOR_ONE,
    Actor,
    Crashed,
    ExitReason,
    Name,
    Shutdown,
    System,
    TaskSupervisor,
    child,
    supervisor,
)
from resprout.runtime import machine
from resprout.runtime.aside import Aside
from resprout.runtime.cell import Cell
from resprout.runtime.deadlines import Timekeeper
from resprout.runtime.incarnation import Incarnation
from resprout.runtime.mailbox import Mailbox
from resprout.runtime.message import Call
from resprout.runtime.owner import Verdict
from resprout.runtime.ref import Address
from resprout.runtime.reply import Promises
from resprout.runtime.transition import Timeout, TimeoutKey, TimeoutPlan, plan_timeouts
from resprout.supervisors import tasks
from resprout.supervisors.ledger import Ledger
from resprout.supervisors.restarting import Restarting
from resprout.testing.plans import smallest
from resprout.testing.scheduling import seeded
from resprout.testing.simulate import main
from resprout.testing.simulated import random_tree
from resprout.testing.simulation import Scenario, SimulationFailed, check, plan_of, simulate

SEEDS, BLOCK = 500, 25


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_the_runtime_keeps_its_promises_under_faults(first: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + BLOCK):
        for line in check(random_tree, seed).journal:
            _, _, what = line.partition(" s  ")
            event = what.split()[0]
            seen[event if event[0].isupper() else "suspended" if what.endswith("suspended") else what] += 1
    # Each kind of outcome occurs often, so that nothing passes for want of cases.
    for kind in ("ActorStarted", "ActorExited", "ActorRestarting", "call done", "enter done", "later done"):
        assert seen[kind] >= 50, seen
    for kind in ("call got ActorStopped", "call got CallTimeoutError", "shelve done", "task done"):
        assert seen[kind] >= 50, seen
    for kind in ("LimitReached", "call got ActorCrashed", "shelve got CallTimeoutError", "suspended"):
        assert seen[kind] >= 5, seen
    for kind in ("later got ActorCrashed", "task got TaskStopped"):
        assert seen[kind], seen


def test_the_same_seed_gives_the_same_journal() -> None:
    first, second = (simulate(random_tree, plan_of(random_tree, 3)).journal for _ in range(2))
    assert first == second
    assert first != simulate(random_tree, plan_of(random_tree, 4)).journal


def test_the_same_seed_gives_the_same_journal_in_another_process() -> None:
    """It leans on no order of hashes."""
    code = (
        "from resprout.testing.simulation import plan_of, simulate\n"
        "from resprout.testing.simulated import random_tree\n"
        "print('\\n'.join(simulate(random_tree, plan_of(random_tree, 5)).journal))"
    )
    other, another = (
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    )
    assert other == another
    assert other.splitlines() == simulate(random_tree, plan_of(random_tree, 5)).journal


def test_trio_still_has_the_private_names_that_seed_its_scheduler() -> None:
    assert isinstance(trio_run._ALLOW_DETERMINISTIC_SCHEDULING, bool)
    assert isinstance(trio_run._r, random.Random)
    before = trio_run._r
    with seeded(1):
        assert trio_run._r is not before
    assert trio_run._r is before


# Bugs planted on purpose: each is found within a few seeds, under its own name, by a small case.

Patch = pytest.MonkeyPatch


def restarts_are_not_counted(patch: Patch) -> None:
    patch.setattr(Ledger, "count", lambda self, now: True)


def children_stop_in_the_wrong_order(patch: Patch) -> None:
    real = Cell._stop_children

    async def stop_forwards(cell: Cell, *, killed: bool) -> None:
        if not cell.parallel and not killed:
            for each in tuple(cell.children.values()):
                await each.terminate(Shutdown("its parent stops"))
        await real(cell, killed=killed)

    patch.setattr(Cell, "_stop_children", stop_forwards)


def calls_have_no_deadline(patch: Patch) -> None:
    patch.setattr(Timekeeper, "watch", lambda self, call: None)


def an_answer_goes_astray(patch: Patch) -> None:
    real = Call.reply
    last: WeakKeyDictionary[object, int] = WeakKeyDictionary()  # By run, so that a run repeats.

    def reply(call: Call, value: object) -> None:
        run = trio.lowlevel.current_root_task()
        if isinstance(value, int):
            last[run], value = value, last.get(run, value)
        real(call, value)

    patch.setattr(Call, "reply", reply)


def a_cast_runs_twice(patch: Patch) -> None:
    real = Address.cast

    def cast(address, method, /, *args, **kwargs):  # type: ignore[no-untyped-def]  # any cast
        real(address, method, *args, **kwargs)
        real(address, method, *args, **kwargs)

    patch.setattr(Address, "cast", cast)


def group_restarts_are_not_counted(patch: Patch) -> None:
    real = Restarting._permit

    def permit(supervisor: Restarting, cell: Cell) -> float | None:
        return real(supervisor, cell) if supervisor._spec.strategy is ONE_FOR_ONE else 0.0

    patch.setattr(Restarting, "_permit", permit)


def one_restart_too_many_is_allowed(patch: Patch) -> None:
    def count(ledger: Ledger, now: float) -> bool:
        if len(ledger._recent) > ledger._limit.max_restarts:
            return False
        ledger._recent = (*ledger._recent, now)
        return True

    patch.setattr(Ledger, "count", count)


def the_stash_loses_its_last(patch: Patch) -> None:
    real = Mailbox.unstash

    def unstash(mailbox: Mailbox) -> None:
        if mailbox.aside is not None and len(mailbox.aside) > 1:
            mailbox.aside.drop(mailbox.aside.all()[-1])
        real(mailbox)

    patch.setattr(Mailbox, "unstash", unstash)


def the_stash_comes_back_behind_the_mail(patch: Patch) -> None:
    def unstash(mailbox: Mailbox) -> None:
        aside, mailbox.aside = mailbox.aside, None
        if aside is not None:
            mailbox.queue.extend(aside.all())

    patch.setattr(Mailbox, "unstash", unstash)


def postponed_events_come_back_in_reverse(patch: Patch) -> None:
    def recall(aside: Aside) -> None:
        aside.recalled.extendleft(aside.stashed)
        aside.stashed.clear()

    patch.setattr(Aside, "recall", recall)


def state_timeouts_outlive_their_state(patch: Patch) -> None:
    def plan(running: Iterable[TimeoutKey], asked: Sequence[Timeout], *, changed: bool) -> TimeoutPlan:
        return plan_timeouts(running, asked, changed=False)

    patch.setattr(machine, "plan_timeouts", plan)


def suspended_actors_go_on(patch: Patch) -> None:
    async def at_once(incarnation: Incarnation) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(Incarnation, "_wait_for_resume", at_once)


def promises_outlive_their_maker(patch: Patch) -> None:
    patch.setattr(Promises, "break_all", lambda self, error: None)


def tasks_outlive_their_caller(patch: Patch) -> None:
    async def leave_it(cell: Cell) -> None:
        pass

    patch.setattr(tasks, "_cancel", leave_it)


def the_failure_of_a_task_spreads(patch: Patch) -> None:
    real = TaskSupervisor.child_ended

    def child_ended(supervisor: TaskSupervisor, cell: Cell, reason: ExitReason) -> Verdict:
        if isinstance(reason, Crashed):
            supervisor.context.stop(reason)
        return real(supervisor, cell, reason)

    patch.setattr(TaskSupervisor, "child_ended", child_ended)


@pytest.mark.parametrize(
    ("plant", "promise"),
    [
        (restarts_are_not_counted, "the restart budget"),
        (group_restarts_are_not_counted, "the restart budget"),
        (one_restart_too_many_is_allowed, "the restart budget"),
        (the_stash_loses_its_last, "what_is_put_aside_is_not_lost"),
        (the_stash_comes_back_behind_the_mail, "what_is_put_aside_keeps_its_order"),
        (postponed_events_come_back_in_reverse, "what_is_put_aside_keeps_its_order"),
        (state_timeouts_outlive_their_state, "actors_see_nothing_wrong"),
        (suspended_actors_go_on, "a suspended actor does nothing"),
        (promises_outlive_their_maker, "promises_end_with_their_maker"),
        (tasks_outlive_their_caller, "actions succeed or get a typed error"),
        (the_failure_of_a_task_spreads, "failures_stay_in_their_task"),
        (children_stop_in_the_wrong_order, "children stop in reverse order"),
        (calls_have_no_deadline, "calls end"),
        (an_answer_goes_astray, "actions succeed or get a typed error"),
        (a_cast_runs_twice, "no_message_runs_twice"),
    ],
)
def test_a_planted_bug_is_found_named_and_shrunk(
    plant: Callable[[Patch], None], promise: str, monkeypatch: Patch
) -> None:
    plant(monkeypatch)
    seed, failed = first_failure(random_tree, seeds=20)
    assert failed.outcome.promise == promise
    assert len(failed.plan.decisions) <= 8, failed
    assert f"--seed {seed}" in str(failed)


def first_failure(make: Callable[[random.Random], Scenario], seeds: int) -> tuple[int, SimulationFailed]:
    for seed in range(seeds):
        try:
            check(make, seed)
        except SimulationFailed as failed:
            return seed, failed
    raise LookupError(f"no seed of {seeds} failed")


# A user's own scenario.


@attrs.define
class Account(Actor):
    """Loses count when it crashes, which its owner believes impossible."""

    balance: int = 0

    async def pay(self, amount: int) -> int:
        self.balance += amount
        return self.balance


ACCOUNT = Name(Account, "account")


def bank(dice: random.Random) -> Scenario:
    most = 0

    async def pay(runtime: System, dice: random.Random) -> None:
        nonlocal most
        most = max(most, await ACCOUNT.call(Account.pay, 1))

    def money_stays(runtime: System) -> str:
        account = ACCOUNT.instance
        balance = account.balance if isinstance(account, Account) else most
        return f"{balance} of {most}" if balance < most else ""

    tree = supervisor("app", child("account", Account, name=ACCOUNT), child("clerk", Actor), intensity=1_000)
    return Scenario(tree=tree, actions={"pay": pay}, invariants=[money_stays])


def test_a_users_invariant_is_checked_and_the_case_shrunk_to_its_cause() -> None:
    with pytest.raises(SimulationFailed) as caught:
        check(bank, 1, name="tests.testing.test_simulation:bank")
    failed = caught.value
    assert failed.outcome.promise == "money_stays"
    assert [each.path for each in failed.plan.decisions if each.path == "pay"] == ["pay"]
    assert len(failed.plan.decisions) == 2
    assert failed.plan.without == {"app/clerk"}
    assert "python -m resprout.testing.simulate tests.testing.test_simulation:bank --seed 1" in str(failed)


def test_the_command_that_a_failure_prints_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SimulationFailed) as caught:
        check(bank, 1, name="tests.testing.test_simulation:bank")
    command = next(line for line in str(caught.value).splitlines() if "--only" in line)
    with pytest.raises(SystemExit) as ended:
        main(command.partition("resprout.testing.simulate ")[2].split(), standalone_mode=False)
    assert ended.value.code == 1
    assert "money_stays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no.such:thing"], "give package.module:function"),
        (["--only", "1"], "give --seed as well"),
        (["--seed", "1", "--only", "x"], "--only needs numbers"),
        (["--seed", "1", "--only", "99999"], "the plan has the decisions 0 to"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_nothing_is_left_changed_after_a_simulation() -> None:
    def replaced() -> tuple[object, ...]:
        return Address.call, Address.cast, Address.send, Ledger.count, Ledger.pause

    before = replaced()
    simulate(random_tree, plan_of(random_tree, 0))
    assert replaced() == before


def test_an_action_that_raises_what_is_no_answer_is_a_failure() -> None:
    async def err(runtime: System, dice: random.Random) -> None:
        await trio.sleep(0.1)
        raise ZeroDivisionError

    def make(dice: random.Random) -> Scenario:
        return Scenario(tree=supervisor("app"), actions={"err": err})

    assert "err raised ZeroDivisionError" in simulate(make, plan_of(make, 0)).broken


def test_a_failure_that_does_not_repeat_is_reported_as_it_was() -> None:
    runs = 0

    def moody(runtime: System) -> str:
        return "in a mood" if runs == 2 else ""

    def make(dice: random.Random) -> Scenario:
        nonlocal runs
        runs += 1
        return Scenario(tree=supervisor("app"), invariants=[moody])

    with pytest.raises(SimulationFailed, match="it did not happen again") as caught:
        check(make, 0)
    assert caught.value.outcome.promise == "moody"


def test_an_invariant_that_raises_is_no_silent_pass() -> None:
    def broken(runtime: System) -> str:
        raise KeyError("no such thing")

    def make(dice: random.Random) -> Scenario:
        return Scenario(tree=supervisor("app"), invariants=[broken])

    assert "checks do not fail: KeyError('no such thing')" in simulate(make, plan_of(make, 0)).broken


def test_the_smallest_part_that_fails_is_found() -> None:
    assert smallest(list(range(100)), lambda part: {7, 55, 99} <= set(part)) == (7, 55, 99)
    assert smallest(list(range(5)), lambda part: True) == ()
