"""Who stops and starts with whom; and after which ends a child is started again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    Crashed,
    ExitReason,
    Ignored,
    Killed,
    Normal,
    RestartType,
    Shutdown,
    Strategy,
)
from resprout.supervisors.strategy import is_expected, plan_restart, should_restart

FAMILIES = st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True)
CASES = FAMILIES.flatmap(lambda order: st.tuples(st.just(order), st.sampled_from(order)))
ANY_STRATEGY = st.sampled_from(Strategy)


@given(CASES, ANY_STRATEGY)
def test_stops_run_backwards_and_starts_forwards(case: tuple[list[str], str], strategy: Strategy) -> None:
    order, failed = case
    plan = plan_restart(strategy, order, failed)
    place = {id: at for at, id in enumerate(order)}
    stops, starts = [place[id] for id in plan.stop], [place[id] for id in plan.start]
    assert stops == sorted(stops, reverse=True)
    assert starts == sorted(starts)


@given(CASES, ANY_STRATEGY)
def test_whoever_is_stopped_is_started_again_and_so_is_the_one_that_failed(
    case: tuple[list[str], str], strategy: Strategy
) -> None:
    order, failed = case
    plan = plan_restart(strategy, order, failed)
    assert failed not in plan.stop  # It is dead already.
    assert {*plan.stop, failed} == set(plan.start)


@given(CASES)
def test_one_for_one_touches_nobody_else(case: tuple[list[str], str]) -> None:
    order, failed = case
    assert plan_restart(ONE_FOR_ONE, order, failed).start == (failed,)


@given(CASES)
def test_one_for_all_takes_everybody(case: tuple[list[str], str]) -> None:
    order, failed = case
    assert list(plan_restart(ONE_FOR_ALL, order, failed).start) == order


@given(CASES)
def test_rest_for_one_spares_exactly_those_that_started_before(case: tuple[list[str], str]) -> None:
    order, failed = case
    started = plan_restart(REST_FOR_ONE, order, failed).start
    spared = [id for id in order if id not in started]
    assert [*spared, *started] == order
    assert started[0] == failed


REASONS: dict[str, ExitReason] = {
    "normal": Normal(),
    "ignored": Ignored("not here"),
    "shutdown": Shutdown(),
    "shutdown with a reason": Shutdown("enough"),
    "killed": Killed(),
    "crashed": Crashed(ValueError()),
}


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize(
    ("restart", "restarted_after"),
    [
        (PERMANENT, set(REASONS) - {"ignored"}),
        (TRANSIENT, {"killed", "crashed"}),
        (TEMPORARY, set[str]()),
    ],
)
def test_restart_types_follow_otps_table(restart: RestartType, restarted_after: set[str], how: str) -> None:
    assert should_restart(restart, REASONS[how]) == (how in restarted_after)


CLEAN = {"normal", "shutdown", "shutdown with a reason", "ignored"}


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize(
    ("restart", "brutal", "accepted"),
    [
        (PERMANENT, False, CLEAN - {"normal"}),
        (PERMANENT, True, {"killed", "ignored"}),
        (TRANSIENT, False, CLEAN),
        (TRANSIENT, True, CLEAN | {"killed"}),
        (TEMPORARY, False, CLEAN),
        (TEMPORARY, True, CLEAN | {"killed"}),
    ],
)
def test_a_stop_accepts_the_reasons_of_otps_table(
    restart: RestartType, brutal: bool, accepted: set[str], how: str
) -> None:
    assert is_expected(restart, REASONS[how], ordered=True, brutal=brutal) == (how in accepted)


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize("restart", RestartType)
@pytest.mark.parametrize("brutal", [False, True])
def test_without_an_order_every_unclean_end_is_news(restart: RestartType, brutal: bool, how: str) -> None:
    assert is_expected(restart, REASONS[how], ordered=False, brutal=brutal) == (how in CLEAN)
