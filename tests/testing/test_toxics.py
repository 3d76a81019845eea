"""How toxics cut and delay bytes, as a pure rule."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from resprout.testing.toxics import Bandwidth, Latency, Slicer, Toxic, schedule

some_toxics = st.lists(
    st.one_of(
        st.builds(Latency, st.floats(0, 10), st.floats(0, 10)),
        st.builds(Bandwidth, st.floats(1, 1e6)),
        st.builds(Slicer, st.integers(1, 50), st.floats(0, 1)),
    ),
    max_size=3,
)


@given(st.binary(max_size=500), some_toxics, st.floats(0, 100), st.integers())
def test_no_toxic_that_delays_loses_or_reorders_a_byte(
    data: bytes, toxics: list[Toxic], after: float, seed: int
) -> None:
    pieces = schedule(data, 50.0, after, toxics, Random(seed))
    assert b"".join(piece.data for piece in pieces) == data
    dues = [after, *(piece.due for piece in pieces)]
    assert dues == sorted(dues)
    assert all(piece.due >= 50.0 for piece in pieces)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=10), st.floats(100, 10_000))
def test_a_bandwidth_limit_holds_over_many_chunks(chunks: list[bytes], rate: float) -> None:
    due = 0.0
    for chunk in chunks:
        due = schedule(chunk, 0.0, due, [Bandwidth(rate)], Random(1))[-1].due
    assert abs(due - sum(map(len, chunks)) / rate) < 1e-6


@given(st.binary(min_size=1, max_size=300), st.integers(1, 20))
def test_a_slicer_never_sends_more_at_once_than_its_limit(data: bytes, size: int) -> None:
    pieces = schedule(data, 0.0, 0.0, [Slicer(size, pause=1.0)], Random(1))
    assert max(len(piece.data) for piece in pieces) <= size
    assert [piece.due for piece in pieces] == [float(n) for n in range(len(pieces))]
