"""The worst-case shutdown time, against trees that really stop, on virtual time and as slowly as they may."""

import math
from functools import partial
from typing import cast

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    BRUTAL_KILL,
    INFINITY,
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    Actor,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    Ref,
    Tasks,
    TaskSupervisor,
    TreeError,
    child,
    dynamic_supervisor,
    open_runtime,
    pool,
    shutdown_budget,
    supervisor,
    task_supervisor,
)
from resprout.runtime.cell import Cell

FOR_EVER = 1e6  # Seconds; at most as many places have no limit as a tree has.
Specs = st.SearchStrategy[ChildSpec]


@attrs.define
class Slow(Actor):
    """Takes *needs* seconds to stop."""

    needs: float = FOR_EVER

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep(self.needs)


times = st.sampled_from([0, 0.5, 1, 2, 7.25, INFINITY, BRUTAL_KILL])
limits = st.sampled_from([INFINITY, INFINITY, INFINITY, 0, 1.5, 6, BRUTAL_KILL])
open_ended: Specs = st.builds(dynamic_supervisor, st.just("?"), shutdown=limits) | st.builds(
    task_supervisor, st.just("?"), task_shutdown=times, shutdown=limits
)


def supervisors(below: Specs) -> Specs:
    def plant(children: list[ChildSpec], **options: object) -> ChildSpec:
        named = (attrs.evolve(spec, id=str(number)) for number, spec in enumerate(children))
        return supervisor("?", *named, **options)  # type: ignore[arg-type] # its options, drawn below

    strategies = st.sampled_from([ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE])
    return st.builds(plant, st.lists(below, max_size=4), shutdown=limits, strategy=strategies)


def pools(below: Specs) -> Specs:
    return st.builds(pool, st.just("?"), below, size=st.integers(1, 3), shutdown=limits)


def trees(needs: st.SearchStrategy[float]) -> Specs:
    leaves = st.builds(child, st.just("?"), st.builds(partial, st.just(Slow), needs), shutdown=times)
    return st.recursive(leaves | open_ended, lambda below: supervisors(below) | pools(below), max_leaves=8)


async def fill(cell: Cell) -> None:
    """Start a slow child, or task, below each supervisor that begins without any."""
    actor = cell.incarnation.actor if cell.incarnation is not None else None
    if isinstance(actor, TaskSupervisor):
        Tasks(cast("Ref[TaskSupervisor]", Ref(cell))).start_soon(trio.sleep, FOR_EVER)
    elif isinstance(actor, DynamicSupervisor):
        late = child("late", Slow)
        await cast("Ref[DynamicSupervisor]", Ref(cell)).call(DynamicSupervisor.start_child, late)
    for below in tuple(cell.children.values()):
        await fill(below)


def seconds_to_stop(tree: ChildSpec) -> float:
    async def stop() -> float:
        async with open_runtime(tree) as runtime:
            await fill(runtime.ref(tree.id)._find())
            await wait_all_tasks_blocked()
            began = trio.current_time()
        return trio.current_time() - began

    return trio.run(stop, clock=MockClock(autojump_threshold=0))


@given(trees(st.just(FOR_EVER)))
def test_a_tree_whose_actors_take_all_the_time_they_have_stops_in_exactly_this_time(tree: ChildSpec) -> None:
    budget, seconds = shutdown_budget(tree), seconds_to_stop(tree)
    assert seconds >= FOR_EVER if budget == math.inf else math.isclose(seconds, budget, abs_tol=1e-6)


@given(trees(st.sampled_from([0.0, 0.75, 3.0, FOR_EVER])))
def test_no_tree_takes_longer_than_this(tree: ChildSpec) -> None:
    assert seconds_to_stop(tree) <= shutdown_budget(tree) + 1e-6


def test_the_tasks_of_a_task_supervisor_count_with_their_own_time() -> None:
    tree = supervisor("app", child("a", Slow, shutdown=2), task_supervisor("jobs", task_shutdown=30))
    assert shutdown_budget(tree) == 32
    assert shutdown_budget(task_supervisor("jobs", task_shutdown=BRUTAL_KILL)) == 0
    assert shutdown_budget(task_supervisor("jobs", task_shutdown=INFINITY)) == math.inf


@pytest.mark.parametrize("wrong", [-1, "5", None, True])
async def test_a_wrong_time_for_tasks_is_refused(wrong: float) -> None:
    with pytest.raises(TreeError, match="jobs: task_shutdown must be seconds >= 0 or BRUTAL_KILL"):
        async with open_runtime(task_supervisor("jobs", task_shutdown=wrong)):
            pass
