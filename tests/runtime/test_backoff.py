import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.runtime.backoff import DEFAULT_BACKOFF, Backoff, ceiling, delay

policies = st.builds(
    lambda floor, base, cap, exponent: Backoff(floor, floor + base, floor + base + cap, exponent),
    st.floats(0.001, 10),
    st.floats(0, 100),
    st.floats(0, 10_000),
    st.integers(0, 64),
)


def test_the_ceiling_doubles_from_a_quarter_of_a_second_up_to_thirty() -> None:
    assert [ceiling(DEFAULT_BACKOFF, n) for n in range(1, 10)] == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]


def test_the_default_delay_lies_between_the_floor_and_the_ceiling_and_is_spread_evenly() -> None:
    rng = random.Random(1)
    drawn = [delay(DEFAULT_BACKOFF, 8, rng) for _ in range(10_000)]
    assert 0.05 <= min(drawn) < 0.1
    assert 29.9 < max(drawn) <= 30
    assert 14.5 < sum(drawn) / len(drawn) < 15.5


@given(policies, st.integers(1, 10**400), st.randoms(use_true_random=False))
def test_no_number_of_failures_makes_the_delay_overflow_or_leave_its_bounds(
    policy: Backoff, failures: int, rng: random.Random
) -> None:
    assert policy.floor <= delay(policy, failures, rng) <= policy.cap


@given(policies, st.integers(1, 2_000))
def test_the_ceiling_never_shrinks_as_failures_go_on(policy: Backoff, failures: int) -> None:
    assert ceiling(policy, failures) <= ceiling(policy, failures + 1)


def test_the_same_seed_draws_the_same_delays() -> None:
    first, second = random.Random(5), random.Random(5)
    assert [delay(DEFAULT_BACKOFF, n, first) for n in range(1, 50)] == [
        delay(DEFAULT_BACKOFF, n, second) for n in range(1, 50)
    ]


@pytest.mark.parametrize("failures", [0, -1])
def test_without_a_failure_there_is_no_delay_to_ask_for(failures: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        delay(DEFAULT_BACKOFF, failures, random.Random(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": 0.0},
        {"floor": -1.0},
        {"base": 0.01},
        {"cap": 0.1},
        {"cap": float("inf")},
        {"base": float("nan")},
        {"max_exponent": -1},
        {"max_exponent": 65},
        {"max_exponent": 2_000},
    ],
)
def test_a_policy_that_could_loop_hot_or_wait_for_ever_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        attrs.evolve(DEFAULT_BACKOFF, **wrong)
