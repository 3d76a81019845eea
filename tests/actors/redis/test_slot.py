"""What is known of a command when its link dies."""

from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.redis.slot import Progress
from resprout.runtime.errors import Sent

SIZES = st.lists(st.integers(1, 20), max_size=10)


@given(SIZES, st.integers(0, 200), st.integers(0, 200))
def test_a_command_is_unsent_only_if_a_byte_of_it_never_left(sizes: list[int], one: int, two: int) -> None:
    flushed, attempted = sorted((one, two))
    stream = [number for number, size in enumerate(sizes) for _ in range(size)]
    marks = list(Progress(flushed=flushed, attempted=attempted).marks(sizes))
    for number, mark in enumerate(marks):
        not_attempted = stream[attempted:].count(number)
        not_flushed = stream[flushed:].count(number)
        assert (mark is Sent.NO) == (not_attempted > 0)
        assert (mark is Sent.YES) == (not_flushed == 0)


@given(SIZES, st.integers(0, 200))
def test_with_an_exact_count_nothing_is_uncertain(sizes: list[int], written: int) -> None:
    assert Sent.MAYBE not in Progress(flushed=written, attempted=written).marks(sizes)
