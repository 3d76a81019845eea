"""The rules of what may be sent again."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import Tool, ToolAnnotations

from resprout.actors.mcp.errors import NotAnswered
from resprout.actors.mcp.tools import Replay, ReplayPolicy, is_safe, may_repeat, pause_before
from resprout.runtime.errors import Sent

hints = st.sampled_from([None, True, False])


def tool(annotations: ToolAnnotations | None) -> Tool:
    return Tool(name="t", input_schema={"type": "object"}, annotations=annotations)


def no_answer(sent: Sent, *, timed_out: bool = False, retry_after: float | None = None) -> NotAnswered:
    return NotAnswered(ConnectionError("reset"), sent=sent, timed_out=timed_out, retry_after=retry_after)


@given(hints, hints, hints)
def test_only_the_servers_own_word_makes_a_tool_safe(
    read_only: bool | None, idempotent: bool | None, destructive: bool | None
) -> None:
    given_hints = ToolAnnotations(
        read_only_hint=read_only, idempotent_hint=idempotent, destructive_hint=destructive
    )
    assert is_safe(tool(given_hints), Replay.ANNOTATED) == (True in (read_only, idempotent))
    assert not is_safe(tool(given_hints), Replay.NEVER)
    assert is_safe(tool(given_hints), Replay.ALWAYS)


@pytest.mark.parametrize("unknown", [None, tool(None)])
def test_a_tool_nobody_vouches_for_is_not_safe(unknown: Tool | None) -> None:
    assert not is_safe(unknown, Replay.ANNOTATED)


def test_what_may_have_run_and_is_not_safe_is_never_repeated() -> None:
    for sent, timed_out, safe in itertools.product(Sent, (True, False), (True, False)):
        if may_repeat(no_answer(sent, timed_out=timed_out), safe=safe):
            assert not timed_out
            assert safe or sent is Sent.NO


def test_a_request_that_never_left_may_always_be_repeated_in_time() -> None:
    assert may_repeat(no_answer(Sent.NO), safe=False)


@given(st.integers(0, 6), st.floats(0, 100))
def test_a_request_is_repeated_so_often_and_never_sooner_than_the_server_asked(
    attempts: int, asked: float
) -> None:
    policy = ReplayPolicy(attempts=attempts)
    pauses = [pause_before(no_answer(Sent.NO, retry_after=asked), n, policy) for n in range(1, attempts + 3)]
    assert sum(pause is not None for pause in pauses) == attempts
    assert all(pause >= asked for pause in pauses if pause is not None)
