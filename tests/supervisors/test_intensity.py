"""The restart window as arithmetic; the checks count for themselves and do not use the rule."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resprout.supervisors.intensity import Allowed, Exceeded, Intensity, count_restart

WHOLE_SECONDS = st.lists(st.integers(0, 40), max_size=60).map(sorted)  # Whole, so that edges are hit.
LIMITS = st.builds(Intensity, max_restarts=st.integers(0, 5), period=st.integers(1, 10).map(float))


def allowed_restarts(times: list[int], limit: Intensity) -> list[int]:
    """The restarts of a supervisor that starts its count anew whenever it is replaced for giving up."""
    recent: tuple[float, ...] = ()
    allowed: list[int] = []
    for at in times:
        match count_restart(recent, float(at), limit):
            case Allowed(recent=kept):
                recent = kept
                allowed.append(at)
            case Exceeded():
                pass
    return allowed


@given(WHOLE_SECONDS, LIMITS)
@example([0, 5, 5], Intensity(2, 5.0))
def test_no_period_holds_more_restarts_than_the_limit(times: list[int], limit: Intensity) -> None:
    allowed = allowed_restarts(times, limit)
    for start in allowed:
        within = [at for at in allowed if start <= at <= start + limit.period]
        assert len(within) <= limit.max_restarts


@given(WHOLE_SECONDS, LIMITS)
def test_a_restart_is_refused_only_when_the_period_before_it_is_full(
    times: list[int], limit: Intensity
) -> None:
    allowed: list[int] = []
    for at, granted in zip(times, grants(times, limit), strict=True):
        before = [earlier for earlier in allowed if at - limit.period <= earlier]
        assert granted == (len(before) < limit.max_restarts)
        if granted:
            allowed.append(at)


def grants(times: list[int], limit: Intensity) -> list[bool]:
    recent: tuple[float, ...] = ()
    answers: list[bool] = []
    for at in times:
        answer = count_restart(recent, float(at), limit)
        answers.append(isinstance(answer, Allowed))
        if isinstance(answer, Allowed):
            recent = answer.recent
    return answers


@given(WHOLE_SECONDS, LIMITS)
def test_the_history_never_grows_beyond_the_limit(times: list[int], limit: Intensity) -> None:
    recent: tuple[float, ...] = ()
    for at in times:
        answer = count_restart(recent, float(at), limit)
        if isinstance(answer, Allowed):
            recent = answer.recent
            assert recent[-1] == at
            assert list(recent) == sorted(recent)
        assert len(recent) <= limit.max_restarts


def test_an_intensity_of_zero_gives_up_at_the_first_restart() -> None:
    assert count_restart((), 0.0, Intensity(0, 5.0)) == Exceeded()


@pytest.mark.parametrize(("now", "answer"), [(5.0, Exceeded()), (5.001, Allowed((5.001,)))])
def test_an_entry_exactly_one_period_old_still_counts(now: float, answer: object) -> None:
    assert count_restart((0.0,), now, Intensity(1, 5.0)) == answer
