import random
import re
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
    FailureRateIn,
    FailuresIn,
    FailuresOf,
    SlowRate,
    SlowRateIn,
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
    trips=st.sampled_from(
        [
            (Consecutive(2),),
            (FailuresOf(2, 4),),
            (Consecutive(3), FailureRate(0.5, 6, 3)),
            (FailureRateIn(0.5, 20.0, 3), FailuresIn(3, 5.0)),
        ]
    ),
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
            force = tuple(Force)[which % 3]
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
        (FailureRate(0.5, 10, 4), [BAD, BAD, OK], [BAD, BAD, BAD, OK]),
        (FailureRate(0.55, 20, 20), [BAD] * 10 + [OK] * 10, [OK] * 9 + [BAD] * 11),
        (FailureRate(0.5, 4, 4), [BAD, OK, OK, OK, BAD, OK], [BAD, OK, OK, OK, BAD, OK, BAD]),
        (FailureRateIn(0.5, 0.5, 4), [BAD, OK, OK, OK, OK, BAD, OK, OK], [OK, BAD, OK, BAD]),
    ],
)
def test_each_rule_trips_exactly_where_it_says(
    rule: TripRule, harmless: list[Outcome], tripping: list[Outcome]
) -> None:
    policy = BreakerPolicy(trips=(rule,))
    assert isinstance(failing(policy, harmless), Closed)
    assert isinstance(failing(policy, tripping[:-1]), Closed)
    assert isinstance(failing(policy, tripping), Open)


@pytest.mark.parametrize(("seconds", "state"), [(8.0, Open), (7.5, Closed)])
def test_failures_exactly_as_long_ago_as_the_rule_looks_back_count(
    seconds: float, state: type[BreakerState]
) -> None:
    assert isinstance(failing(BreakerPolicy(trips=(FailuresIn(3, seconds),)), [BAD] * 3, gap=4.0), state)


@pytest.mark.parametrize("short", [FailuresOf(2, 2), FailureRate(1.0, 2, 2)])
def test_a_rule_of_few_calls_does_not_see_what_another_one_remembers(short: TripRule) -> None:
    policy = BreakerPolicy(trips=(short, FailuresOf(9, 9)))
    assert isinstance(failing(policy, [BAD, OK, BAD, OK, OK]), Closed)
    assert isinstance(failing(policy, [BAD, OK, BAD, BAD]), Open)


SLOW_RULES = [
    SlowRate(0.5, slow_after=2.0, calls=10, min_calls=4),
    SlowRateIn(0.5, slow_after=2.0, seconds=60.0, min_calls=4),
]


@pytest.mark.parametrize("rule", SLOW_RULES)
def test_slow_successes_trip_a_slow_rate(rule: TripRule) -> None:
    policy = BreakerPolicy(trips=(rule,))
    assert isinstance(failing(policy, [OK] * 4, slow=False), Closed)
    assert isinstance(failing(policy, [OK] * 3, slow=True), Closed)
    assert isinstance(failing(policy, [OK] * 4, slow=True), Open)


@pytest.mark.parametrize("rule", SLOW_RULES)
def test_a_hanging_call_counts_as_slow_once_and_as_failed_when_it_fails(rule: TripRule) -> None:
    policy, rng, ticket = BreakerPolicy(trips=(rule, Consecutive(3))), random.Random(0), Admitted(0)
    state: BreakerState = Closed()
    for _ in range(2):
        state = rules.settle(state, ticket, BAD, 1.0, policy, rng, slow=None)
        state = rules.hang(state, ticket, 2.0, policy, rng)  # Does not break the row of failures.
    assert isinstance(state, Closed)
    assert (state.tally.consecutive, state.openings) == (2, 0)
    assert isinstance(rules.settle(state, ticket, BAD, 3.0, policy, rng, slow=None), Open)
    state = Closed()
    for _ in range(4):
        state = rules.hang(state, ticket, 2.0, policy, rng)
    assert isinstance(state, Open)


def test_a_call_that_was_counted_as_slow_is_no_second_call() -> None:
    policy, rng, ticket = BreakerPolicy(trips=SLOW_RULES[:1]), random.Random(0), Admitted(0)
    state: BreakerState = Closed()
    for _ in range(3):
        state = rules.hang(state, ticket, 2.0, policy, rng)
        state = rules.settle(state, ticket, OK, 3.0, policy, rng, slow=None)
    assert isinstance(state, Closed)
    assert (state.tally.timed, state.tally.ended) == (3, 3)


@pytest.mark.parametrize("rule", [FailuresOf(2, 9), FailuresIn(2, 60.0), FailureRate(1.0, 2, 2)])
def test_a_slow_call_makes_nobody_forget_the_failures_before_it(rule: TripRule) -> None:
    policy, rng, ticket = BreakerPolicy(trips=(rule, *SLOW_RULES)), random.Random(0), Admitted(0)
    state = rules.settle(Closed(), ticket, BAD, 1.0, policy, rng)
    state = rules.hang(state, ticket, 2.0, policy, rng)
    assert isinstance(state, Closed)
    assert isinstance(rules.settle(state, ticket, BAD, 3.0, policy, rng, slow=None), Open)


def test_a_late_hanging_call_changes_nothing() -> None:
    policy, rng = BreakerPolicy(trips=(SlowRate(1.0, 2.0, 1, 1),)), random.Random(0)
    for state in (Closed(generation=2), HalfOpen(1, 0.0, 1), Open(1, 0.0, 9.0, 1)):
        assert rules.hang(state, Admitted(1), 5.0, policy, rng) == state
    for force in (Force.OPEN, Force.CLOSED):
        override = Override(1, 0, 9, 0, force, "ann", "why")
        assert rules.hang(override, Admitted(1), 5.0, policy, rng) == override


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=40),
    st.sampled_from([1, 2, 6]),
    st.integers(1, 5),
)
def test_a_share_over_time_agrees_with_counting_the_calls_of_ten_steps(
    calls: list[tuple[int, bool]], step: int, least: int
) -> None:
    policy = BreakerPolicy(trips=(FailureRateIn(0.5, step * 10.0, least),))
    rng, state, now = random.Random(0), Closed(), 0
    seen: list[tuple[int, bool]] = []
    for wait, failed in calls:
        now += wait
        seen.append((now // step, failed))
        recent = [bad for at, bad in seen if at > now // step - 10]
        expected = len(recent) >= least and 2 * sum(recent) >= len(recent)
        after = rules.settle(state, Admitted(0), BAD if failed else OK, float(now), policy, rng)
        assert isinstance(after, Open) == expected
        if not isinstance(after, Closed):
            break
        state = after


def test_time_windows_of_several_lengths_and_a_window_of_calls_live_side_by_side() -> None:
    trips = (FailureRateIn(0.9, 10.0, 4), FailureRateIn(0.5, 100.0, 8), FailureRate(1.0, 3, 3))
    assert isinstance(failing(BreakerPolicy(trips=trips), [OK, BAD] * 3 + [OK]), Closed)
    assert isinstance(failing(BreakerPolicy(trips=trips), [OK, BAD] * 4), Open)
    assert isinstance(failing(BreakerPolicy(trips=trips), [OK, BAD, BAD, BAD]), Open)
    spread = failing(BreakerPolicy(trips=trips[:1]), [BAD, BAD, BAD, OK] + [BAD] * 3, gap=2.0)
    assert isinstance(spread, Closed)


def test_a_calm_breaker_is_one_that_a_success_does_not_change() -> None:
    failed = rules.settle(Closed(), Admitted(0), BAD, 0.0, DEFAULT_BREAKER, random.Random(0))
    assert rules.is_calm(Closed(), DEFAULT_BREAKER)
    assert not rules.is_calm(failed, DEFAULT_BREAKER)
    assert not rules.is_calm(HalfOpen(1, 0.0, 1), DEFAULT_BREAKER)
    assert not rules.is_calm(Closed(), BreakerPolicy(trips=(FailureRate(0.5),)))
    assert not rules.is_calm(Closed(), BreakerPolicy(trips=(FailureRateIn(0.5),)))


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
    long = BreakerPolicy(open_for=1.0, open_cap=1e9, open_jitter=0.0)
    assert [rules.open_time(long, openings, rng) for openings in (16, 17, 18, 10**9)] == [
        2.0**15,
        *[2.0**16] * 3,
    ]
    steady = BreakerPolicy(open_for=3.0, open_cap=3.0, open_jitter=0.0)
    assert [rules.open_time(steady, openings, rng) for openings in (1, 5)] == [3.0, 3.0]


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
    assert isinstance(rules.settle(state, answer, OK, 9.9, DEFAULT_BREAKER, rng), Closed)
    late = rules.settle(state, answer, OK, 11.0, DEFAULT_BREAKER, rng)
    assert isinstance(late, Open)
    assert (late.since, late.openings, late.generation) == (10.0, 2, 4)  # As of its deadline.


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
        assert state.since == 600.0
    for wrong in (0.0, -1.0, 86_401.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="override"):
            rules.overridden(Closed(), 0.0, Force.OPEN, wrong, "ann", "for ever")
    assert rules.released(Override(1, 0, 9, 3, Force.OPEN, "a", "b"), 1.0) == HalfOpen(2, 1.0, 3)
    assert rules.released(Closed(), 1.0) == Closed()


@pytest.mark.parametrize(("by", "reason"), [("", "why"), (" ", "why"), ("ann", ""), ("ann", " ")])
def test_an_override_says_who_and_why(by: str, reason: str) -> None:
    with pytest.raises(ValueError, match="who and why"):
        rules.overridden(Closed(), 0.0, Force.OPEN, 60.0, by, reason)


def test_metrics_only_admits_all_and_counts_how_often_it_would_have_opened() -> None:
    rng, policy = random.Random(0), BreakerPolicy(trips=(Consecutive(2),))
    state: BreakerState = rules.overridden(Closed(), 0.0, Force.METRICS_ONLY, 60.0, "ann", "a new policy")
    for outcome in [BAD, OK, BAD, BAD, BAD, Outcome.CANCELLED, BAD, BAD]:
        state, answer = rules.admit(state, 1.0, policy, rng)
        assert isinstance(answer, Admitted)
        state = rules.settle(state, answer, outcome, 1.0, policy, rng)
    assert isinstance(state, Override)
    assert (state.trips, state.tally.consecutive) == (2, 1)
    slow = BreakerPolicy(trips=(SlowRate(1.0, 2.0, 1, 1),))
    hung = rules.hang(state, Admitted(state.generation), 3.0, slow, rng)
    assert isinstance(hung, Override)
    assert hung.trips == 3
    assert rules.hang(hung, Admitted(state.generation), 60.0, slow, rng) == hung  # It has ended by then.


@pytest.mark.parametrize("force", [Force.OPEN, Force.CLOSED])
def test_other_overrides_remember_no_results(force: Force) -> None:
    policy = BreakerPolicy(trips=(Consecutive(1),))
    state = rules.overridden(Closed(), 0.0, force, 60.0, "ann", "maintenance")
    assert rules.settle(state, Admitted(state.generation), BAD, 1.0, policy, random.Random(0)) == state


def test_several_good_probes_may_be_asked_for_and_one_bad_one_is_enough() -> None:
    policy, rng = BreakerPolicy(half_open_max=2, successes_to_close=2), random.Random(0)
    state, first = rules.admit(HalfOpen(3, 0.0, 1), 0.0, policy, rng)
    state, second = rules.admit(state, 1.0, policy, rng)
    assert isinstance(first, Admitted)
    assert isinstance(second, Admitted)
    assert first.permit != second.permit
    assert rules.admit(state, 4.0, policy, rng)[1] == Rejected(6.0)  # Until the first of them must end.
    state = rules.settle(state, first, OK, 5.0, policy, rng)
    assert isinstance(state, HalfOpen)
    assert rules.settle(state, first, OK, 5.0, policy, rng) == state  # Its permit is used up.
    assert isinstance(rules.settle(state, second, BAD, 5.0, policy, rng), Open)
    assert isinstance(rules.settle(state, second, OK, 5.0, policy, rng, slow=True), Open)
    closed = rules.settle(state, second, OK, 5.0, policy, rng)
    assert closed == Closed(generation=4, since=5.0, openings=1)


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
        {"open_for": -1.0},
        {"open_for": float("inf")},
        {"open_jitter": -0.1},
        {"open_jitter": float("nan")},
        {"half_open_max": 1.5},
        {"successes_to_close": True},
        {"trips": (Consecutive(float("inf")),)},
        {"trips": (Consecutive(float("nan")),)},
        {"trips": (FailuresOf(1, 0),)},
        {"trips": (FailuresIn(1, float("nan")),)},
        {"trips": (FailureRate(float("nan")),)},
        {"trips": (FailureRate(1.1),)},
        {"trips": (FailureRate(0.5, 10, 0),)},
        {"trips": (FailureRate(0.5, 0, 1),)},
        {"trips": (FailureRateIn(0.5, float("inf")),)},
        {"trips": (FailureRateIn(0.5, 60.0, 0),)},
        {"trips": (SlowRate(0.5, 0.0),)},
        {"trips": (SlowRateIn(0.5, float("nan")),)},
        {"trips": (SlowRateIn(0.5, 1.0, -1.0),)},
        {"trips": (SlowRate(0.5, 1.0), SlowRateIn(0.5, 2.0))},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must") as refused:
        attrs.evolve(DEFAULT_BREAKER, **wrong)  # type: ignore[arg-type] - wrong on purpose.
    assert re.search(r"\d|nan|inf|True|\(\)", str(refused.value))  # The value,
    assert re.search(r"choose|leave|raise|lower|half", str(refused.value))  # and what to do.


@pytest.mark.parametrize(
    "edge",
    [
        {"open_for": 30.0, "open_cap": 30.0},
        {"open_jitter": 0.0},
        {"trips": (FailuresOf(5, 5), FailureRate(1.0, 1, 1), FailuresIn(1, 0.001))},
        {"trips": (SlowRate(0.5, 1.0), SlowRateIn(0.5, 1.0), FailureRateIn(1.0, 1.0, 1))},
    ],
)
def test_a_policy_at_the_edge_of_sense_is_taken(edge: dict[str, object]) -> None:
    attrs.evolve(DEFAULT_BREAKER, **edge)  # type: ignore[arg-type] - of mixed types.
