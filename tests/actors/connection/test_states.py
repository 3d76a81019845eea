import random
from collections.abc import Callable
from typing import TypeAlias

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.connection import states
from resprout.actors.connection.policy import KeeperPolicy
from resprout.actors.connection.states import (
    BackingOff,
    Connecting,
    ConnectionState,
    Degraded,
    Draining,
    Ready,
    Stopped,
)

POLICY = KeeperPolicy()

Move: TypeAlias = Callable[[ConnectionState, float, random.Random], ConnectionState]

MOVES: dict[str, Move] = {
    "attempt succeeded": lambda s, now, rng: states.attempt_succeeded(s, now, POLICY, rng),
    "replaced": lambda s, now, rng: states.replaced(s, now, POLICY, rng),
    "attempt failed": lambda s, now, rng: states.attempt_failed(s, now, POLICY, rng),
    "link lost": lambda s, now, rng: states.link_lost(s, now, POLICY, rng),
    "proved": lambda s, now, rng: states.proved(s),
    "probe answered": lambda s, now, rng: states.probe_answered(s, now, POLICY, rng),
    "probe missed": lambda s, now, rng: states.probe_missed(s, now, POLICY, rng, "late"),
    "impaired": lambda s, now, rng: states.impaired(s, now, POLICY, "read only"),
    "retry due": lambda s, now, rng: states.retry_due(s, now, POLICY),
    "nudged": lambda s, now, rng: states.nudged(s, now, POLICY, now - 0.5),
    "wanted": lambda s, now, rng: states.wanted(s, now, POLICY, now - 0.5, now / 2, rng),
}
REQUESTS: dict[str, Move] = {
    "drain": lambda s, now, rng: states.drain_asked(s, now, POLICY),
    "stop": lambda s, now, rng: states.stopped(s, now),
}

histories = st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.floats(0, 60)), max_size=60)


@given(histories, st.integers(0, 2**32))
def test_no_history_without_a_request_ends_a_connection(history: list[tuple[str, float]], seed: int) -> None:
    rng, now = random.Random(seed), 0.0
    state: ConnectionState = states.start(now, POLICY)
    for move, wait in history:
        now += wait
        state = MOVES[move](state, now, rng)
        assert isinstance(state, Connecting | Ready | Degraded | BackingOff)


@given(histories, st.integers(0, 2**32))
def test_whatever_happens_there_is_an_attempt_or_a_timer_within_reach(
    history: list[tuple[str, float]], seed: int
) -> None:
    rng, now = random.Random(seed), 0.0
    state: ConnectionState = states.start(now, POLICY)
    for move, wait in history:
        now += wait
        before, state = state, MOVES[move](state, now, rng)
        if type(state) is not type(before) or states.moves_by(state, POLICY) != states.moves_by(
            before, POLICY
        ):
            # A timer just armed rings within the longest interval there is.
            assert now <= states.moves_by(state, POLICY) <= now + 33 + 5
            assert not states.is_stuck(state, now, POLICY)


@given(histories, st.integers(0, 2**32))
def test_the_timer_of_every_wait_leads_to_an_attempt_and_the_attempt_to_a_link(
    history: list[tuple[str, float]], seed: int
) -> None:
    rng, now = random.Random(seed), 0.0
    state: ConnectionState = states.start(now, POLICY)
    for move, wait in history:
        now += wait
        state = MOVES[move](state, now, rng)
    if isinstance(state, BackingOff):
        assert state.until - state.since <= 30
        state = states.retry_due(state, state.until, POLICY)
    if isinstance(state, Connecting):
        state = states.attempt_succeeded(state, now + 31, POLICY, rng)
    assert isinstance(state, Ready | Degraded)


@given(st.integers(0, 5_000), st.floats(0, 4.99))
def test_failures_count_on_until_a_link_has_proved_itself(failures: int, up_for: float) -> None:
    rng = random.Random(0)
    ready = Ready(since=0.0, next_probe=30.0, failures=failures)
    young = states.link_lost(ready, up_for, POLICY, rng)
    old = states.link_lost(ready, up_for + 5, POLICY, rng)
    used = states.link_lost(states.proved(ready), up_for, POLICY, rng)
    assert [state.attempt for state in (young, old, used) if isinstance(state, BackingOff)] == [
        failures + 1,
        1,
        1,
    ]


@given(st.floats(0, 30), st.floats(0, 30), st.floats(0, 30))
def test_a_nudge_never_puts_an_attempt_off_and_keeps_its_distance(
    until: float, now: float, last: float
) -> None:
    state = BackingOff(since=0.0, attempt=9, until=until)
    nudged = states.nudged(state, now, POLICY, last_nudge=min(last, now))
    assert isinstance(nudged, BackingOff)
    assert nudged.until <= until
    assert nudged.until == until or nudged.until >= min(last, now) + 1


@given(*[st.floats(0, 600)] * 4, st.integers(0, 2**32))
def test_who_asks_for_the_link_never_puts_an_attempt_off_nor_hurries_it_twice(
    until: float, now: float, last: float, down_since: float, seed: int
) -> None:
    since, last, down_since = min(now, until), min(last, now), min(down_since, now)
    state = BackingOff(since=since, attempt=9, until=until)
    wanted = states.wanted(state, now, POLICY, last, down_since, random.Random(seed))
    assert isinstance(wanted, BackingOff)
    longest = max(1.0, (now - down_since) / 10)
    assert wanted.until <= until
    assert wanted.until == until or wanted.until >= max(since + 0.05, last + longest)
    assert wanted.until <= now + longest + 1e-6
    assert states.wanted(wanted, now + 1, POLICY, last, down_since, random.Random(0)) == wanted


def test_the_second_missed_probe_in_a_row_loses_the_link() -> None:
    rng = random.Random(0)
    ready = Ready(since=0.0, next_probe=30.0)
    once = states.probe_missed(ready, 30.0, POLICY, rng, "late")
    assert once == Degraded(since=30.0, next_probe=30.0, why="late", misses=1)
    assert isinstance(states.probe_missed(once, 35.0, POLICY, rng, "late"), BackingOff)


def test_a_miss_after_a_clean_probe_starts_the_count_again() -> None:
    rng = random.Random(0)
    state: ConnectionState = Degraded(since=0.0, next_probe=0.0, why="late", misses=1)
    state = states.probe_answered(state, 1.0, POLICY, rng)
    state = states.probe_missed(state, 2.0, POLICY, rng, "late")
    assert isinstance(state, Degraded)
    assert (state.misses, state.clean) == (1, 0)


@pytest.mark.parametrize("request_", sorted(REQUESTS))
@pytest.mark.parametrize(
    "state",
    [
        Connecting(0.0, 10.0),
        Ready(0.0, 30.0),
        Degraded(0.0, 5.0, "slow"),
        BackingOff(0.0, 3, 5.0),
        Draining(0.0, 10.0),
        Stopped(0.0),
    ],
)
def test_every_state_can_be_left_for_good_on_request(state: ConnectionState, request_: str) -> None:
    after = REQUESTS[request_](state, 1.0, random.Random(0))
    after = states.stopped(after, 11.0)
    assert isinstance(after, Stopped)
    for move in MOVES.values():  # And nothing wakes it up again.
        assert move(after, 20.0, random.Random(0)) == after


def test_what_happens_while_draining_never_opens_the_connection_again() -> None:
    draining = Draining(since=0.0, until=10.0)
    for name, move in MOVES.items():
        after = move(draining, 1.0, random.Random(0))
        assert isinstance(after, Stopped) if name == "link lost" else after == draining


def test_the_policy_refuses_numbers_that_would_hang_or_spin() -> None:
    for name in ("attempt_timeout", "probe_every", "nudge_every", "drain_timeout"):
        for wrong in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=name):
                attrs.evolve(POLICY, **{name: wrong})
