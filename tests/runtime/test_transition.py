"""The rules of state machines, as properties of plain values."""

import math

from hypothesis import given
from hypothesis import strategies as st

from resprout.runtime.timers import Step
from resprout.runtime.transition import Clock, Timeout, Unchanged, decide, plan_timeouts

STATES = st.sampled_from(["shut", "open", "stuck"])
KEYS = st.sampled_from([Clock.STATE, Clock.EVENT, "one", "two"])
ASKED = st.lists(
    st.builds(Timeout, KEYS, st.sampled_from([0.0, 1.0, math.inf]), st.builds(lambda: Step("ring", (), {})))
)


@given(state=STATES, wanted=st.none() | STATES, repeat=st.booleans())
def test_only_another_state_is_a_change_and_only_a_change_or_a_repetition_enters(
    state: str, wanted: str | None, repeat: bool
) -> None:
    follows = decide(state, Unchanged() if wanted is None else wanted, repeat=repeat)
    assert follows.state == (wanted or state)
    assert follows.changed == (wanted not in (None, state))
    assert follows.entered == (repeat or follows.changed)


@given(running=st.frozensets(KEYS), asked=ASKED, changed=st.booleans())
def test_what_runs_after_a_transition_is_what_was_asked_for_last_and_what_nothing_ended(
    running: frozenset[Clock | str], asked: list[Timeout], changed: bool
) -> None:
    plan = plan_timeouts(sorted(running, key=str), asked, changed=changed)
    started = [timeout.key for timeout in plan.start]
    for key in (Clock.STATE, Clock.EVENT, "one", "two"):
        requests = [timeout for timeout in asked if timeout.key == key]
        wanted = bool(requests) and requests[-1].seconds != math.inf
        ended = key is Clock.EVENT or (key is Clock.STATE and changed) or bool(requests)
        assert (key in plan.cancel) == (key in running and ended)
        assert [timeout for timeout in plan.start if timeout.key == key] == (requests[-1:] if wanted else [])
    assert started == sorted(started, key=lambda key: max(i for i, t in enumerate(asked) if t.key == key))
