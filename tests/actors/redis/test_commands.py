"""What we know of commands."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.commands import READ_COMMANDS

from resprout.actors.redis.commands import (
    READS,
    REFUSED,
    WAITS,
    CommandRefused,
    block_seconds,
    blocking_for,
    command_named,
)
from resprout.actors.redis.policy import CallPolicy, Verdict, judge
from resprout.runtime.errors import Sent


def seconds(*args: object) -> float | None:
    name, *rest = args
    return block_seconds(command_named(str(name), rest[0] if rest else None), args)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("BLPOP", "a", "b", 2), 2.0),
        (("blpop", "a", "0.5"), 0.5),
        (("BRPOP", "a", 0), math.inf),
        (("BLMOVE", "a", "b", "LEFT", "LEFT", 3), 3.0),
        (("BLMPOP", 1.5, 1, "a", "LEFT"), 1.5),
        (("BZPOPMIN", "a", 1), 1.0),
        (("WAIT", 1, 250), 0.25),
        (("WAITAOF", 1, 0, 0), math.inf),
        (("XREAD", "STREAMS", "a", "0"), None),
        (("XREAD", "COUNT", 1, "block", 1500, "STREAMS", "a", "$"), 1.5),
        (("XREAD", b"BLOCK", b"0", b"STREAMS", "a", "$"), math.inf),
        (("XREADGROUP", "GROUP", "block", "block", "STREAMS", "block", ">"), None),
        (("XREADGROUP", "GROUP", "g", "c", "BLOCK", 10, "STREAMS", "a", ">"), 0.01),
        (("BLPOP",), math.inf),
        (("GET", "BLOCK"), None),
    ],
)
def test_how_long_a_command_may_wait_on_the_server(args: tuple[object, ...], expected: float | None) -> None:
    assert seconds(*args) == expected


@pytest.mark.parametrize(
    "args",
    [
        ("BLPOP", "a", "b", 2),
        ("BLMPOP", 1.5, 1, "a", "LEFT"),
        ("XREAD", "COUNT", 1, "block", 1500, "STREAMS", "a", "$"),
        ("XREADGROUP", "GROUP", "g", "block", "BLOCK", 10, "STREAMS", "a", ">"),
    ],
)
@given(rest=st.floats(-1, 1e6))
def test_a_wait_that_goes_on_lasts_for_the_rest_of_its_time_and_never_for_ever(
    args: tuple[object, ...], rest: float
) -> None:
    command = command_named(str(args[0]))
    changed = blocking_for(rest, command, args)
    waits = block_seconds(command, changed)
    assert waits == pytest.approx(max(rest, 0.001), abs=0.001)
    assert waits > 0
    assert [new == old for new, old in zip(changed, args, strict=True)].count(False) <= 1


@given(st.sampled_from(sorted(REFUSED)), st.sampled_from([str.upper, str.lower, str.title]))
def test_no_spelling_gets_past_a_refusal(name: str, spell: object) -> None:
    spelled = spell(name)  # type: ignore[operator]
    with pytest.raises(CommandRefused):
        command_named(spelled)
    first, *rest = spelled.split()
    with pytest.raises(CommandRefused):
        command_named(first, rest[0] if rest else None)
    with pytest.raises(CommandRefused):
        command_named(first, rest[0].encode() if rest else None)


def test_what_may_be_repeated_neither_waits_nor_is_refused() -> None:
    assert READ_COMMANDS <= READS
    assert READS & set(WAITS) == {"XREAD"}
    assert not READS & set(REFUSED)
    for name in (
        "INCR",
        "LPUSH",
        "PUBLISH",
        "XADD",
        "EVAL",
        "EVALSHA",
        "GETDEL",
        "XREADGROUP",
        "SPOP",
        "GETEX",
    ):
        assert not command_named(name).repeatable


@given(st.sampled_from(Sent), st.booleans(), st.booleans())
def test_only_what_did_not_run_or_does_no_harm_is_sent_again(
    sent: Sent, repeatable: bool, expired: bool
) -> None:
    verdict = judge(sent, repeatable=repeatable, expired=expired)
    if verdict is Verdict.AGAIN:
        assert not expired
        assert sent is Sent.NO or repeatable
    if verdict is Verdict.UNKNOWN:
        assert sent is not Sent.NO
        assert not repeatable


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan])
def test_a_call_needs_a_finite_deadline(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        CallPolicy(timeout)
