"""The judge catches every kind of lie, and has no objection to the truth."""

from collections import Counter

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from resprout.runtime.errors import OutcomeUnknown, Sent, Unavailable
from tests.faults.history import Call, History, Kind, Outcome
from tests.faults.judge import Recovery, Truth, judge, recovery


def call(kind: Kind, value: str, outcome: Outcome | None, reply: str | None = None) -> Call:
    """A call that took a second and had two."""
    ended = None if outcome is None else 1.0
    return Call(
        caller="ann", kind=kind, value=value, outcome=outcome, ended_at=ended, deadline=2.0, reply=reply
    )


TRUE_HISTORY = (
    call(Kind.ASK, "a", Outcome.OK, "a"),
    call(Kind.ASK, "b", Outcome.FAILED),
    call(Kind.WRITE, "w1", Outcome.OK, "1"),
    call(Kind.WRITE, "w2", Outcome.FAILED),
    call(Kind.WRITE, "w3", Outcome.UNKNOWN),
    call(Kind.WRITE, "w4", Outcome.UNKNOWN),
    call(Kind.COUNT, "c1", Outcome.OK, "1"),
    call(Kind.COUNT, "c2", Outcome.OK, "3"),
    call(Kind.COUNT, "c3", Outcome.UNKNOWN),
    call(Kind.COUNT, "c4", Outcome.UNKNOWN),
    call(Kind.COUNT, "c5", Outcome.FAILED),
)
TRUE_STATE = Truth(Counter({"w1": 1, "w3": 1}), count=3)


def test_the_judge_has_no_objection_to_the_truth() -> None:
    assert judge(TRUE_HISTORY, TRUE_STATE) == []


@pytest.mark.parametrize(
    ("lie", "law"),
    [
        (call(Kind.ASK, "x", None), "a call never ended"),
        (attrs.evolve(call(Kind.ASK, "x", Outcome.FAILED), ended_at=2.6), "a call ended late"),
        (attrs.evolve(call(Kind.ASK, "x", Outcome.UNKNOWN), typed=False), "an error without a type"),
        (call(Kind.ASK, "x", Outcome.OK, "a"), "a foreign reply"),
        (call(Kind.ASK, "x", Outcome.OK, None), "a foreign reply"),
        (call(Kind.WRITE, "x", Outcome.OK), "a lost acknowledged write"),
        (call(Kind.WRITE, "w3", Outcome.FAILED), "a write ran though it was said to have failed"),
        (call(Kind.COUNT, "x", Outcome.OK, "3"), "a count was given to two callers"),
    ],
)
def test_a_lie_in_the_history_is_caught_by_its_name(lie: Call, law: str) -> None:
    assert law in [violation.law for violation in judge([*TRUE_HISTORY, lie], TRUE_STATE)]


@pytest.mark.parametrize(
    ("state", "law"),
    [
        (attrs.evolve(TRUE_STATE, held=Counter({"w3": 1})), "a lost acknowledged write"),
        (attrs.evolve(TRUE_STATE, held=Counter({"w1": 2})), "a write ran twice"),
        (attrs.evolve(TRUE_STATE, held=Counter({"w1": 1, "w3": 2})), "a write ran twice"),
        (
            attrs.evolve(TRUE_STATE, held=Counter({"w1": 1, "w2": 1})),
            "a write ran though it was said to have failed",
        ),
        (attrs.evolve(TRUE_STATE, held=Counter({"w1": 1, "z": 1})), "the server holds what nobody wrote"),
        (attrs.evolve(TRUE_STATE, count=1), "the counter is wrong"),
        (attrs.evolve(TRUE_STATE, count=5), "the counter is wrong"),
    ],
)
def test_a_server_that_holds_something_else_is_caught(state: Truth, law: str) -> None:
    assert [violation.law for violation in judge(TRUE_HISTORY, state)] == [law]


@given(ran=st.lists(st.tuples(st.sampled_from(Outcome), st.booleans())))
def test_every_honest_history_passes_and_each_that_hides_a_run_does_not(
    ran: list[tuple[Outcome, bool]],
) -> None:
    """An honest caller is told OK only of what ran, FAILED only of what did not, UNKNOWN of either."""
    writes = [call(Kind.WRITE, f"w{number}", told) for number, (told, _) in enumerate(ran)]
    held = Counter(f"w{number}" for number, (_, really) in enumerate(ran) if really)
    honest = all(told is Outcome.UNKNOWN or (told is Outcome.OK) == really for told, really in ran)
    assert (judge(writes, Truth(held)) == []) == honest


def test_recovery_is_measured_to_the_first_good_answer_and_to_the_last_bad_one() -> None:
    calls = [
        Call(caller="ann", kind=Kind.ASK, value="", invoked_at=at - 0.1, ended_at=at, outcome=outcome)
        for at, outcome in [
            (9.0, Outcome.OK),
            (10.05, Outcome.OK),  # It was made before.
            (11.0, Outcome.FAILED),
            (12.0, Outcome.OK),
            (13.0, Outcome.UNKNOWN),
            (14.5, Outcome.OK),
        ]
    ]
    assert recovery(calls, healed_at=10.0) == Recovery(first=2.0, well=3.0)
    assert recovery(calls[:-1], healed_at=10.0) == Recovery(first=2.0, well=None)
    assert recovery(calls[:3], healed_at=10.0) == Recovery(first=None, well=None)


async def test_the_history_books_each_way_in_which_a_call_can_end(autojump_clock: MockClock) -> None:
    history = History(refusals=(PermissionError,))

    async def ends(how: object) -> object:
        await trio.sleep(0.1)
        if isinstance(how, Exception):
            raise how
        return how

    for how in (
        b"good",
        Unavailable("redis", "down"),
        OutcomeUnknown("redis", "lost", sent=Sent.YES),
        PermissionError(),
        RuntimeError("a bug"),
    ):
        await history.call("ann", Kind.ASK, "good", lambda how=how: ends(how), timeout=1.0)  # type: ignore[misc]  # mypy does not see the default.
    await history.call("ann", Kind.ASK, "left", lambda: ends("late"), timeout=1.0, patience=0.05)

    told = [call.outcome for call in history.calls]
    failed, unknown = Outcome.FAILED, Outcome.UNKNOWN
    assert told == [Outcome.OK, failed, unknown, failed, unknown, unknown]
    assert [call.typed for call in history.calls] == [True, True, True, True, False, True]
    assert [call.cancelled for call in history.calls] == [False] * 5 + [True]
    assert history.calls[0].reply == "good"
    assert history.calls[-1].ended_at == pytest.approx(0.55)
    assert [violation.law for violation in judge(history.calls, Truth())] == ["an error without a type"]
