"""The pool's decisions, by properties that do not reuse the rules."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.postgres import PoolPolicy
from resprout.actors.postgres.pool_rules import (
    MOVES,
    Codel,
    SlotState,
    census,
    is_stale,
    lifetime,
    served,
    should_close,
    slot_to_open,
)
from resprout.actors.postgres.slots import Slot

STATES = st.lists(st.sampled_from(SlotState), min_size=1, max_size=12)


@given(STATES)
def test_the_counts_add_up_to_the_number_of_slots(states: list[SlotState]) -> None:
    counts = census(states)
    assert counts.size == len(states)
    assert counts.open == sum(state in (SlotState.IDLE, SlotState.IN_USE) for state in states)


@given(STATES, st.integers(0, 20), st.integers(1, 12))
def test_only_an_empty_slot_is_opened_and_never_beside_another_attempt(
    states: list[SlotState], waiting: int, min_size: int
) -> None:
    policy = PoolPolicy(min_size=min(min_size, len(states)), max_size=len(states))
    number = slot_to_open(states, waiting, policy)
    if number is not None:
        assert states[number] is SlotState.EMPTY
        assert SlotState.CONNECTING not in states


@given(STATES, st.integers(1, 20))
def test_whoever_waits_is_served_an_attempt_or_a_full_pool(states: list[SlotState], waiting: int) -> None:
    number = slot_to_open(states, waiting, PoolPolicy(max_size=len(states)))
    assert number is not None or SlotState.CONNECTING in states or SlotState.EMPTY not in states


def test_a_pool_without_waiters_opens_no_more_than_its_minimum() -> None:
    policy = PoolPolicy(min_size=2, max_size=3)
    empty, idle, used = SlotState.EMPTY, SlotState.IDLE, SlotState.IN_USE
    assert slot_to_open([empty, empty, empty], 0, policy) == 0
    assert slot_to_open([used, empty, empty], 0, policy) == 1
    assert slot_to_open([used, idle, empty], 0, policy) is None
    assert slot_to_open([used, used, empty], 1, policy) == 2


@given(st.lists(st.sampled_from(SlotState), max_size=20))
def test_a_slot_takes_no_way_that_is_not_there(path: list[SlotState]) -> None:
    slot = Slot(0)
    for state in path:
        allowed = state in MOVES[slot.state]
        before = slot.state
        if allowed:
            slot.move(state)
            assert slot.state is state
        else:
            with pytest.raises(AssertionError):
                slot.move(state)
            assert slot.state is before


def test_every_state_of_a_slot_has_a_way_on_and_a_way_to_empty() -> None:
    for state in SlotState:
        assert MOVES[state]
        reachable = {state}
        for _ in SlotState:
            reachable |= {there for here in reachable for there in MOVES[here]}
        assert SlotState.EMPTY in reachable


# (seconds since the one before, seconds waited), in tens of milliseconds, so that edges are hit.
SERVINGS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=60)


@given(SERVINGS)
def test_nobody_is_sent_away_while_the_line_clears_at_times(servings: list[tuple[int, int]]) -> None:
    """If each serving is followed by one that waited for nothing, no interval is bad."""
    policy, codel, now = PoolPolicy(), Codel(), 0.0
    for gap, waited in servings:
        now += gap / 100
        for wait in (waited / 100, 0.0):
            codel = served(codel, now, wait, policy)
            assert not is_stale(codel, wait, policy)


@given(st.integers(11, 100))
def test_a_line_that_never_gets_short_is_overloaded_after_one_interval(wait_ms: int) -> None:
    policy, codel, wait = PoolPolicy(), Codel(), wait_ms / 100
    verdicts = []
    for tenth in range(40):
        codel = served(codel, tenth / 10, wait, policy)
        verdicts.append(is_stale(codel, wait, policy))
    assert not any(verdicts[:10])
    assert all(verdicts[11:])


def test_an_overload_of_long_ago_says_nothing_about_now() -> None:
    policy, codel = PoolPolicy(), Codel()
    for tenth in range(30):
        codel = served(codel, tenth / 10, 0.5, policy)
    assert is_stale(codel, 0.5, policy)
    assert not is_stale(served(codel, 60.0, 0.5, policy), 0.5, policy)


def test_in_an_overload_only_those_who_waited_long_are_sent_away() -> None:
    policy = PoolPolicy()
    overloaded = Codel(until=1.0, shortest=0.2, overloaded=True)
    assert is_stale(overloaded, 0.11, policy)
    assert not is_stale(overloaded, 0.1, policy)


@given(st.integers())
def test_lives_differ_by_a_tenth_at_most(seed: int) -> None:
    assert 1620 <= lifetime(PoolPolicy(), random.Random(seed)) <= 1800


def test_an_idle_connection_is_closed_when_old_or_not_needed() -> None:
    policy = PoolPolicy(min_size=2)
    assert should_close(100.0, 99.0, 100.0, 1, policy) == "it is old"
    assert should_close(1000.0, 1800.0, 400.0, 3, policy) == "it was not needed"
    assert should_close(1000.0, 1800.0, 400.0, 2, policy) is None
    assert should_close(1000.0, 1800.0, 401.0, 3, policy) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_size": 0},
        {"min_size": 3, "max_size": 2},
        {"max_waiting": -1},
        {"codel_target": 0.0},
        {"max_lifetime": float("nan")},
        {"lifetime_jitter": 1.0},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        PoolPolicy(**wrong)  # type: ignore[arg-type]  # Wrong on purpose.
