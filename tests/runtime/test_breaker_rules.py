import random
from typing import TypeAlias

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.runtime import breaker_rules as rules
from resprout.runtime.breaker_policy import (
    DEFAULT_BREAKER,
    BreakerPolicy,
    Consecutive,
    FailureRate,
    FailuresIn,
    FailuresOf,
    SlowRate,
    TripRule,
)
from resprout.runtime.breaker_rules import (
    Admitted,
    BreakerState,
    Closed,
    Force,
    HalfOpen,
    Open,
    Outcome,
    Override,
    Rejected,
)

Step: TypeAlias = tuple[str, float, int]

histories = st.lists(
    st.tuples(
        st.sampled_from(["admit", "success", "failure", "cancelled", "ignored", "forced", "seen alive"]),
        st.sampled_from([0.0, 0.5, 3.0, 9.5, 31.0, 130.0]),
        st.integers(0, 5),
    ),
    max_size=80,
)
policies = st.builds(
    BreakerPolicy,
    trips=st.sampled_from([(Consecutive(2),), (FailuresOf(2, 4),), (Consecutive(3), FailureRate(0.5, 6, 3))]),
    half_open_max=st.integers(1, 3),
    successes_to_close=st.integers(1, 3),
)


class Machine:
    """Plays a history and remembers what the rules allowed, without using them to check themselves."""

    def __init__(self, policy: BreakerPolicy, seed: int) -> None:
        self.policy, self.rng, self.now = policy, random.Random(seed), 0.0
        self.state: BreakerState = Closed()
        self.tickets: list[Admitted] = []
        self.probes: dict[int, float] = {}

    def play(self, step: Step) -> None:
        what, wait, which = step
        self.now += wait
        if what == "admit":
            self.admit()
        elif what == "forced":
            force = (Force.OPEN, Force.CLOSED)[which % 2]
            self.state = rules.overridden(self.state, self.now, force, 60.0, "test", "why not")
        elif what == "seen alive":
            self.state = rules.seen_alive(self.state, self.now)
        elif self.tickets:
            ticket = self.tickets.pop(which % len(self.tickets))
            self.state = rules.settle(
                self.state, ticket, Outcome(what), self.now, self.policy, self.rng, slow=False
            )

    def admit(self) -> Admitted | Rejected:
        self.state, answer = rules.admit(self.state, self.now, self.policy, self.rng)
        if isinstance(answer, Admitted):
            self.tickets.append(answer)
        return answer


@given(histories, policies, st.integers(0, 2**32))
def test_it_always_leaves_open_and_a_working_service_always_closes_it(
    history: list[Step], policy: BreakerPolicy, seed: int
) -> None:
    machine = Machine(policy, seed)
    for step in history:
        machine.play(step)
    machine.now += 130  # Longer than any open time, override and probe deadline.
    for _ in range(10):
        if isinstance(machine.state, Closed):
            break
        machine.now += 130
        answer = machine.admit()
        assert isinstance(answer, Admitted) or machine.tickets
        if isinstance(answer, Admitted):
            machine.state = rules.settle(
                machine.state, answer, Outcome.SUCCESS, machine.now, policy, machine.rng
            )
        machine.tickets.clear()
    assert isinstance(machine.state, Closed)


@given(histories, policies, st.integers(0, 2**32))
def test_there_are_never_more_probes_than_allowed_and_each_has_a_deadline(
    history: list[Step], policy: BreakerPolicy, seed: int
) -> None:
    machine = Machine(policy, seed)
    for step in history:
        machine.play(step)
        if isinstance(machine.state, HalfOpen):
            generation = machine.state.generation
            out = [t for t in machine.tickets if t.generation == generation and t.until > machine.now]
            assert len(out) <= len(machine.state.probes) <= policy.half_open_max
            assert all(ticket.until <= machine.now + policy.probe_timeout for ticket in out)


@given(histories, policies, st.integers(0, 2**32))
def test_a_late_result_changes_nothing(history: list[Step], policy: BreakerPolicy, seed: int) -> None:
    machine = Machine(policy, seed)
    for step in history:
        machine.play(step)
        current = rules.expire(machine.state, machine.now, policy, machine.rng)
        for ticket in machine.tickets:
            if ticket.generation != current.generation:
                for outcome in Outcome:
                    after = rules.settle(current, ticket, outcome, machine.now, policy, machine.rng)
                    assert after == current


def test_a_late_failure_of_an_earlier_closed_time_does_not_count_in_the_present_one() -> None:
    rng, policy = random.Random(0), BreakerPolicy(trips=(Consecutive(1),))
    _, old = rules.admit(Closed(generation=0), 0.0, policy, rng)
    assert isinstance(old, Admitted)
    present = Closed(generation=3, since=100.0, openings=1)
    assert rules.settle(present, old, Outcome.FAILURE, 101.0, policy, rng) == present


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_result_of_an_earlier_probe_does_not_pass_for_the_present_one(outcome: Outcome) -> None:
    rng = random.Random(0)
    _, old = rules.admit(HalfOpen(2, 0.0, 1), 0.0, DEFAULT_BREAKER, rng)
    assert isinstance(old, Admitted)
    present, _ = rules.admit(HalfOpen(4, 50.0, 2), 50.0, DEFAULT_BREAKER, rng)
    assert rules.settle(present, old, outcome, 51.0, DEFAULT_BREAKER, rng) == present


@given(histories, policies, st.integers(0, 2**32))
def test_a_cancelled_or_ignored_call_never_opens_or_closes_it(
    history: list[Step], policy: BreakerPolicy, seed: int
) -> None:
    machine = Machine(policy, seed)
    for step in history:
        machine.play(step)
        current = rules.expire(machine.state, machine.now, policy, machine.rng)
        for ticket in machine.tickets:
            for outcome in (Outcome.CANCELLED, Outcome.IGNORED):
                after = rules.settle(current, ticket, outcome, machine.now, policy, machine.rng)
                assert after.generation == current.generation


@given(histories, policies, st.integers(0, 2**32))
def test_an_open_breaker_says_truly_when_to_come_back(
    history: list[Step], policy: BreakerPolicy, seed: int
) -> None:
    machine = Machine(policy, seed)
    for step in history:
        machine.play(step)
        state, answer = rules.admit(machine.state, machine.now, policy, machine.rng)
        if isinstance(answer, Rejected) and isinstance(state, Open):
            assert 0 < answer.retry_after <= policy.open_cap
            _, later = rules.admit(state, machine.now + answer.retry_after + 1e-6, policy, machine.rng)
            assert isinstance(later, Admitted)


def failing(
    policy: BreakerPolicy, outcomes: list[Outcome], gap: float = 0.1, slow: bool = False
) -> BreakerState:
    state: BreakerState = Closed()
    rng = random.Random(0)
    for at, outcome in enumerate(outcomes):
        state, answer = rules.admit(state, at * gap, policy, rng)
        if isinstance(answer, Rejected):
            break
        state = rules.settle(state, answer, outcome, at * gap, policy, rng, slow=slow)
    return state


OK, BAD = Outcome.SUCCESS, Outcome.FAILURE


@pytest.mark.parametrize(
    ("rule", "harmless", "tripping"),
    [
        (Consecutive(5), [BAD] * 4 + [OK] + [BAD] * 4, [BAD] * 5),
        (FailuresOf(3, 5), [BAD, BAD, OK, OK, OK, BAD, BAD], [BAD, OK, BAD, OK, BAD]),
        (FailuresIn(3, 0.25), [BAD, BAD, OK, OK, BAD, BAD], [BAD, BAD, BAD]),
        (FailureRate(0.5, 10, 4), [OK, OK, OK, BAD, BAD], [OK, BAD, OK, BAD]),
        (FailureRate(1.0, 10, 10), [BAD] * 9, [BAD] * 10),
    ],
)
def test_each_rule_trips_exactly_where_it_says(
    rule: TripRule, harmless: list[Outcome], tripping: list[Outcome]
) -> None:
    policy = BreakerPolicy(trips=(rule,))
    assert isinstance(failing(policy, harmless), Closed)
    assert isinstance(failing(policy, tripping[:-1]), Closed)
    assert isinstance(failing(policy, tripping), Open)


def test_slow_successes_trip_a_slow_rate() -> None:
    policy = BreakerPolicy(trips=(SlowRate(0.5, slow_after=2.0, calls=10, min_calls=4),))
    assert isinstance(failing(policy, [OK] * 4, slow=False), Closed)
    assert isinstance(failing(policy, [OK] * 4, slow=True), Open)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 8), st.integers(0, 8))
def test_k_of_n_agrees_with_counting_by_hand(results: list[bool], k: int, more: int) -> None:
    policy = BreakerPolicy(trips=(FailuresOf(k, k + more),))
    by_hand = any(
        failed and sum(results[max(0, at + 1 - k - more) : at + 1]) >= k for at, failed in enumerate(results)
    )
    assert isinstance(failing(policy, [BAD if failed else OK for failed in results]), Open) == by_hand


def test_the_open_time_doubles_with_jitter_and_never_passes_the_cap() -> None:
    rng = random.Random(0)
    for openings, (low, high) in enumerate([(24, 36), (48, 72), (80, 120), (80, 120)], start=1):
        drawn = [rules.open_time(DEFAULT_BREAKER, openings, rng) for _ in range(1000)]
        assert low <= min(drawn) < low * 1.02
        assert high * 0.98 < max(drawn) <= high
    assert rules.open_time(DEFAULT_BREAKER, 10**9, rng) <= 120


@pytest.mark.parametrize(("closed_for", "openings"), [(29.0, 4), (30.0, 1)])
def test_the_open_time_starts_again_only_after_a_stable_time(closed_for: float, openings: int) -> None:
    closed = Closed(generation=8, since=100.0, openings=3)
    after = rules.opened(closed, 100.0 + closed_for, DEFAULT_BREAKER, random.Random(0))
    assert after.openings == openings


def test_a_probe_without_a_result_in_time_has_failed() -> None:
    rng = random.Random(0)
    state, answer = rules.admit(HalfOpen(3, 0.0, 1), 0.0, DEFAULT_BREAKER, rng)
    assert isinstance(answer, Admitted)
    state, second = rules.admit(state, 4.0, DEFAULT_BREAKER, rng)
    assert second == Rejected(6.0)
    late = rules.settle(state, answer, OK, 10.0, DEFAULT_BREAKER, rng)
    assert isinstance(late, Open)


def test_a_cancelled_probe_gives_its_permit_back() -> None:
    rng = random.Random(0)
    state, answer = rules.admit(HalfOpen(3, 0.0, 1), 0.0, DEFAULT_BREAKER, rng)
    assert isinstance(answer, Admitted)
    state = rules.settle(state, answer, Outcome.CANCELLED, 1.0, DEFAULT_BREAKER, rng)
    _, again = rules.admit(state, 1.0, DEFAULT_BREAKER, rng)
    assert isinstance(again, Admitted)


def test_overrides_end_by_themselves_and_a_probe_decides() -> None:
    rng = random.Random(0)
    for force in Force:
        state: BreakerState = rules.overridden(Closed(), 0.0, force, 600.0, "ann", "maintenance")
        _, answer = rules.admit(state, 599.0, DEFAULT_BREAKER, rng)
        assert isinstance(answer, Rejected if force is Force.OPEN else Admitted)
        state, answer = rules.admit(state, 600.0, DEFAULT_BREAKER, rng)
        assert isinstance(state, HalfOpen)
        assert isinstance(answer, Admitted)
    for wrong in (0.0, -1.0, 86_401.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="override"):
            rules.overridden(Closed(), 0.0, Force.OPEN, wrong, "ann", "for ever")
    assert not isinstance(rules.released(Override(1, 0, 9, 0, Force.OPEN, "a", "b"), 1.0), Override)


@pytest.mark.parametrize(
    "wrong",
    [
        {"open_for": 0.0},
        {"open_for": float("nan")},
        {"open_cap": 10.0},
        {"reset_after": -1.0},
        {"half_open_max": 0},
        {"successes_to_close": 0},
        {"open_jitter": 1.0},
        {"probe_timeout": float("inf")},
        {"trips": ()},
        {"trips": (Consecutive(0),)},
        {"trips": (FailuresOf(6, 5),)},
        {"trips": (FailureRate(0.0),)},
        {"trips": (FailureRate(0.5, 10, 11),)},
        {"trips": (FailuresIn(0, 1.0),)},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        attrs.evolve(DEFAULT_BREAKER, **wrong)  # type: ignore[arg-type] - wrong on purpose.
