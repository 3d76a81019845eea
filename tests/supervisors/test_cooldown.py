"""Pauses at the restart limit: they double up to a cap, begin anew after a quiet time, and always end."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.supervisors.cooldown import CoolDown, Pauses, next_pause

POLICIES = st.floats(0.1, 10).flatmap(
    lambda first: st.builds(CoolDown, st.just(first), st.floats(first, 100))
)
QUIET = st.lists(st.floats(0, 300), min_size=1, max_size=80)  # Between a pause's end and the next limit.


def lengths(quiet: list[float], policy: CoolDown) -> list[float]:
    """The pauses of a supervisor that reaches its limit each time it was quiet for so long."""
    pauses, now, found = Pauses(), 0.0, []
    for seconds in quiet:
        now += seconds
        length, pauses = next_pause(pauses, now, policy)
        found.append(length)
        now += length
    return found


@given(QUIET, POLICIES)
def test_no_pause_is_shorter_than_the_first_or_longer_than_the_cap(
    quiet: list[float], policy: CoolDown
) -> None:
    assert all(policy.first <= length <= policy.cap for length in lengths(quiet, policy))


@given(POLICIES, st.integers(1, 80))
def test_without_quiet_they_double_until_the_cap(policy: CoolDown, count: int) -> None:
    found = lengths([0.0] * count, policy)
    for before, after in itertools.pairwise(found):
        assert after == pytest.approx(min(before * 2, policy.cap))


@given(QUIET, POLICIES)
def test_after_a_quiet_time_longer_than_the_cap_they_begin_anew(quiet: list[float], policy: CoolDown) -> None:
    found = lengths([*quiet, policy.cap * 1.01 + 0.01], policy)
    assert found[-1] == policy.first


@pytest.mark.parametrize(("quiet", "length"), [(60.0, 16.0), (60.001, 1.0)])
def test_the_quiet_time_is_counted_from_the_end_of_the_pause_and_must_be_longer_than_the_cap(
    quiet: float, length: float
) -> None:
    """The fourth pause took 8 seconds; counted from its begin, less would do."""
    assert lengths([0.0, 0.0, 0.0, 0.0, quiet], CoolDown())[-1] == length


def test_a_supervisor_that_never_recovers_goes_on_for_ever() -> None:
    assert lengths([0.0] * 8, CoolDown()) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert lengths([0.0] * 5_000, CoolDown())[-1] == 60


@pytest.mark.parametrize(
    ("first", "cap"), [(0, 60), (-1, 60), (5, 1), (math.nan, 60), (1, math.nan), (1, math.inf)]
)
def test_a_pause_that_is_none_or_never_ends_is_refused(first: float, cap: float) -> None:
    with pytest.raises(ValueError, match="0 < first <= cap"):
        CoolDown(first, cap)
