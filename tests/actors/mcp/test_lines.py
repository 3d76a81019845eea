"""Reading a pipe line by line."""

from collections.abc import AsyncIterator

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from resprout.actors.mcp.lines import LineReader, LineTooLong, readable


class Chunks(trio.abc.ReceiveStream):
    """A stream that gives these chunks and ends."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = [chunk for chunk in chunks if chunk]

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.chunks.pop(0) if self.chunks else b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def collect(lines: AsyncIterator[bytes]) -> list[bytes]:
    return [line async for line in lines]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20)), st.integers(1, 7))
def test_lines_are_the_same_however_the_bytes_arrive(parts: list[bytes], size: int) -> None:
    text = b"\n".join(parts)
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    expected = [line.strip() for line in text.split(b"\n") if line.strip()]
    assert trio.run(collect, LineReader(Chunks(chunks), 1_000_000)) == expected


async def test_a_line_over_the_limit_is_an_error_before_it_is_complete() -> None:
    reader = LineReader(Chunks([b"short\n", b"x" * 6, b"x" * 6]), limit=10)
    assert await reader.__anext__() == b"short"
    with pytest.raises(LineTooLong, match="10 bytes"):
        await reader.__anext__()


@given(st.binary(max_size=2_000))
def test_what_a_server_says_cannot_steer_the_terminal_of_its_reader(line: bytes) -> None:
    shown = readable(line)
    assert shown.isprintable()
