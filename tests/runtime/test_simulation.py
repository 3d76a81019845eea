"""Whole trees on virtual time under random crashes, hangs, kills, requests and cancellations.

A failure names its seed: `simulation.run(seed)` repeats it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache

import pytest

from resprout import (
    ActorCrashed,
    ActorExited,
    ActorRestarting,
    ActorStarted,
    ActorStopped,
    CallTimeoutError,
    Life,
    LimitReached,
    MailboxFull,
    Shutdown,
)
from tests.runtime.simulation import Attempt, World, run

SEEDS = range(60)
simulated = cache(run)
each_seed = pytest.mark.parametrize("seed", SEEDS)


@each_seed
def test_nothing_runs_after_the_stop_but_the_clock(seed: int) -> None:
    world = simulated(seed)
    assert world.left_running == ["resprout clock"]
    assert world.runtime is not None
    root = world.runtime.root
    assert root is not None
    cells = [root]
    while cells:
        cell = cells.pop()
        cells += cell.children.values()
        assert (cell.alive, cell.life, len(cell.mailbox), cell.task) == (False, Life.STOPPED, 0, None)
    assert not world.runtime.registry._places


@each_seed
def test_no_place_is_ever_filled_twice(seed: int) -> None:
    assert simulated(seed).overlaps == []


@each_seed
def test_every_call_ends_in_time_with_its_own_answer_or_a_typed_error(seed: int) -> None:
    for call in simulated(seed).attempts:
        assert call.seconds <= call.timeout + 1e-6, call
        assert call.outcome != "wrong answer", call


@each_seed
def test_an_error_tells_the_truth_about_whether_the_message_ran(seed: int) -> None:
    world = simulated(seed)
    ran = Counter((sender, number) for _, sender, number in world.handled)
    assert all(times == 1 for times in ran.values())  # None was handled twice.
    for attempt in world.attempts:
        did_run = (attempt.sender, attempt.number) in ran
        match attempt.outcome:
            case "answered" | ActorCrashed() | CallTimeoutError(started=True):
                assert did_run, attempt
            case ActorStopped() | MailboxFull() | CallTimeoutError(started=False):
                assert not did_run, attempt
            case _:
                pass  # A cast may be lost with its actor; a cancelled call may have begun.


@each_seed
def test_messages_of_one_sender_are_handled_in_their_order(seed: int) -> None:
    world = simulated(seed)
    seen: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for path, sender, number in world.handled:
        seen[path, sender].append(number)
    for order in seen.values():
        assert order == sorted(order)


@each_seed
def test_children_start_in_order_with_their_supervisor(seed: int) -> None:
    """From a supervisor's end to its next start, its children come up from first to last."""
    world = simulated(seed)
    rising: defaultdict[str, list[int] | None] = defaultdict(lambda: None)
    for _, event, _ in world.events:
        parent = event.actor.rpartition("/")[0]
        match event:
            case ActorExited(actor=path) if path in world.specs:
                rising[path] = []
            case ActorStarted(actor=path):
                rising[path] = None  # It is up: from now on its children come and go by themselves.
                starting, order = rising[parent], first_children(world, parent)
                if starting is not None:
                    starting.append(order.index(path.rpartition("/")[2]))
                    assert starting == sorted(set(starting)), event
            case _:
                pass


def first_children(world: World, path: str) -> list[str]:
    return [spec.id for spec in world.specs[path].children] if path in world.specs else []


@each_seed
@pytest.mark.parametrize("order", ["its parent stops", "its group restarts"])
def test_children_stop_in_reverse_order(seed: int, order: str) -> None:
    world = simulated(seed)
    falling: defaultdict[str, list[int]] = defaultdict(list)
    for _, event, position in world.events:
        parent = event.actor.rpartition("/")[0]
        match event:
            case ActorStarted(actor=path):
                falling.pop(parent, None)
                falling.pop(path, None)
            case ActorExited(reason=Shutdown(detail=detail)) if detail == order and ordered(world, parent):
                falling[parent].append(position)
                assert falling[parent] == sorted(falling[parent], reverse=True), event
            case _:
                pass


def ordered(world: World, path: str) -> bool:
    """Whether the children of *path* are stopped one by one."""
    return path in world.specs and bool(world.specs[path].children)


@each_seed
def test_no_supervisor_of_whatever_strategy_restarts_more_than_it_tolerates(seed: int) -> None:
    assert simulated(seed).over_budget == []


@each_seed
def test_the_stop_takes_no_longer_than_the_longest_chain_of_shutdown_times(seed: int) -> None:
    world = simulated(seed)
    last = max((at for at, _, _ in world.events), default=world.stopping_at)
    assert last - world.stopping_at <= 5.0 * len({event.actor for _, event, _ in world.events})


def test_the_simulations_reach_what_they_are_for() -> None:
    """Each kind of outcome and event occurs often, so that none of the tests above passes for want of cases."""
    worlds = [simulated(seed) for seed in SEEDS]
    outcomes = Counter(kind(attempt) for world in worlds for attempt in world.attempts)
    events = Counter(type(event) for world in worlds for _, event, _ in world.events)
    assert sum(len(world.handled) for world in worlds) > 4_000
    for outcome in (
        "answered",
        "cancelled",
        "cast",
        ActorCrashed,
        ActorStopped,
        MailboxFull,
        CallTimeoutError,
    ):
        assert outcomes[outcome] > 50, outcomes
    for event in (ActorStarted, ActorExited, ActorRestarting, LimitReached):
        assert events[event] > 50, events


def kind(attempt: Attempt) -> object:
    return attempt.outcome if isinstance(attempt.outcome, str) else type(attempt.outcome)


def test_the_same_seed_gives_the_same_world() -> None:
    """It leans on trio's private scheduler seed; if trio changes it, seeds no longer repeat a failure."""
    assert run(3).journal() == run(3).journal()
