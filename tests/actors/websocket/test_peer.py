"""What happens on the wire below a session."""

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio_websocket import wrap_client_stream, wrap_server_stream

from resprout.actors.websocket.peer import PeerGone, WebSocketPeer, short


class Narrow(trio.abc.Stream):
    """A stream that takes the first *room* bytes of what is sent after `shut`, and then blocks."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner, self.room, self.sent = inner, 1_000_000, b""

    async def send_all(self, data: bytes) -> None:
        passed = bytes(data[: self.room])
        self.room -= len(passed)
        self.sent += passed
        await self.inner.send_all(passed)
        if len(passed) < len(data):
            await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.inner.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.inner.aclose()


async def connected(nursery: trio.Nursery) -> tuple[WebSocketPeer, Narrow, WebSocketPeer]:
    """A server's peer, the stream below it, and its client."""
    near, far = trio.testing.memory_stream_pair()
    narrow = Narrow(near)
    client = None

    async def dial() -> None:
        nonlocal client
        client = await wrap_client_stream(nursery, far, "host", "/", message_queue_size=16)

    nursery.start_soon(dial)
    request = await wrap_server_stream(nursery, narrow, 16)
    server = await request.accept()
    while client is None:
        await trio.lowlevel.checkpoint()
    return WebSocketPeer(server, narrow), narrow, WebSocketPeer(client, far)


async def test_a_peer_that_was_cut_off_while_sending_is_never_used_again(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        server, stream, client = await connected(nursery)
        stream.room, stream.sent = 10, b""
        with trio.move_on_after(1):
            await server.send("x" * 100)
        stream.room = 1_000_000
        await server.aclose(1011, "bye", "last words")
        assert len(stream.sent) == 10  # Anything more would be read as the rest of the frame.
        with pytest.raises(PeerGone) as caught:
            await client.receive()
        assert caught.value.code == 1006
        nursery.cancel_scope.cancel()


async def test_closing_ends_although_the_other_side_never_answers(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        server, stream, _ = await connected(nursery)
        stream.room = 0
        started = trio.current_time()
        await server.aclose(1001, "bye", grace=2.0)
        assert trio.current_time() - started <= 2.0
        with pytest.raises(PeerGone):
            await server.send("too late")
        nursery.cancel_scope.cancel()


async def test_the_last_words_and_the_code_arrive(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        server, _, client = await connected(nursery)

        async def close() -> None:
            await server.aclose(4508, "too slow", "last words")

        nursery.start_soon(close)
        assert await client.receive() == "last words"
        with pytest.raises(PeerGone) as caught:
            await client.receive()
        assert (caught.value.code, caught.value.reason) == (4508, "too slow")
        nursery.cancel_scope.cancel()


async def test_a_cancelled_close_still_says_why(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        server, _, client = await connected(nursery)
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.aclose(1001, "stopping", "last words")
        assert await client.receive() == "last words"
        with pytest.raises(PeerGone) as caught:
            await client.receive()
        assert caught.value.code == 1001
        nursery.cancel_scope.cancel()


def test_a_long_reason_is_cut_where_a_character_ends() -> None:
    assert short("\u00e9" * 100) == "\u00e9" * 61
