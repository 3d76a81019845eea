"""Random calls, cancels, stalls and cuts against a server that writes down what it ran.

Whatever happens: a caller gets its own reply or none; what is said to be unsent never ran; nothing runs twice.
"""

import random
import socket
from collections import Counter

import hiredis
import pytest
import trio
import trio.testing

from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.resp import pack
from resprout.actors.redis.slot import NoReply
from resprout.actors.redis.wire import SocketWire, StreamWire, Wire
from resprout.runtime.errors import Sent

TIGHT = LinkLimits(reply_timeout=0.5, max_in_flight=30, max_unsent_bytes=4_000, drain_time=0.2)
WIDE = LinkLimits(reply_timeout=0.5, drain_time=0.2)


class EchoServer:
    """Answers each command with its own words, in pieces and with pauses, until it has had enough."""

    def __init__(self, stream: trio.abc.Stream, seed: random.Random) -> None:
        self.stream, self.seed, self.ran = stream, seed, Counter[bytes]()
        self.lives = seed.choice([20, 100, 10_000])

    async def run(self) -> None:
        reader, out = hiredis.Reader(), b""
        try:
            while self.lives > 0:
                data = await self.stream.receive_some(self.seed.choice([1, 10, 1_000, 100_000]))
                if not data:
                    break
                reader.feed(bytes(data))
                while (command := reader.gets()) is not False:
                    self.ran[command[1][:8]] += 1
                    self.lives -= 1
                    out += b"$%d\r\n%s\r\n" % (len(command[1]), command[1])
                while out and self.seed.random() < 0.9:
                    cut = self.seed.randint(1, len(out))
                    await self.stream.send_all(out[:cut])
                    out = out[cut:]
                if self.seed.random() < 0.1:
                    await trio.sleep(self.seed.choice([0.001, 0.02, 0.7]))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await trio.aclose_forcefully(self.stream)


class History:
    """What each call was told."""

    def __init__(self) -> None:
        self.answered, self.unsent, self.unknown, self.cancelled = (set[bytes]() for _ in range(4))

    async def call(self, link: RedisLink, number: int, seed: random.Random) -> None:
        word = b"%08d" % number
        payload = word + b"." * seed.choice([0, 10, 2_000])
        with trio.move_on_after(seed.choice([0.0005, 0.01, 5, 5])) as patience:
            try:
                reply = await link.call(pack(("ECHO", payload)), seed.choice([0.05, 0.5, 2]))
            except NoReply as error:
                (self.unsent if error.sent is Sent.NO else self.unknown).add(word)
            else:
                assert reply == payload, "a foreign reply"
                self.answered.add(word)
        if patience.cancelled_caught:
            self.cancelled.add(word)

    def check(self, ran: Counter[bytes], calls: int) -> None:
        told = self.answered, self.unsent, self.unknown, self.cancelled
        assert sum(map(len, told)) == calls, "every call ends, in one way"
        assert max(ran.values(), default=0) <= 1, "nothing runs twice"
        assert self.answered <= ran.keys(), "an answer means that it ran"
        assert not self.unsent & ran.keys(), "what is said to be unsent never ran"


async def play(wire: Wire, far: trio.abc.Stream, seed: random.Random) -> History:
    link, server = RedisLink(wire, seed.choice([TIGHT, WIDE])), EchoServer(far, seed)
    history, calls, pauses = History(), 150, seed.choice([0.3, 0.01])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        nursery.start_soon(link.run)
        async with trio.open_nursery() as callers:
            for number in range(calls):
                callers.start_soon(history.call, link, number, seed)
                if seed.random() < pauses:
                    await trio.sleep(seed.choice([0, 0, 0.001, 0.01]))
                if seed.random() < 0.003:
                    link.retire(OSError("retired by the test"))
        await link.aclose()
    history.check(server.ran, calls)
    return history


@pytest.mark.parametrize("first_seed", range(0, 60, 20))
async def test_histories_on_a_stream_that_blocks(first_seed: int, autojump_clock) -> None:
    told = Counter[str]()
    for number in range(first_seed, first_seed + 20):
        near, far = trio.testing.lockstep_stream_pair()
        history = await play(StreamWire(near), far, random.Random(number))
        told += Counter({kind: len(words) for kind, words in vars(history).items()})
    assert min(told[kind] for kind in ("answered", "unsent", "unknown", "cancelled")) > 10, told


async def test_histories_on_sockets_with_small_buffers(autojump_clock) -> None:
    for number in range(40):
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        far.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(far))
        await play(SocketWire(near), stream, random.Random(number))
