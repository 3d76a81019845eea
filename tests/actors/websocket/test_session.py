"""One session over a peer made of plain Python: what a hostile or unlucky client costs."""

import random
from collections.abc import Callable

import trio
from trio.testing import MockClock

from resprout.actors.websocket.hub import Hub
from resprout.actors.websocket.memory_store import MemoryStore
from resprout.actors.websocket.session import Session, SessionPolicy, Visitor
from resprout.actors.websocket.store import Failure
from resprout.runtime.errors import OutcomeUnknown


class FakePeer:
    """A client that says what the test makes it say; *reads* whether it takes what it gets."""

    def __init__(self, says: Callable[[int], str | None], *, reads: bool) -> None:
        self._says, self._reads = says, reads
        self.said = 0
        self.closed_with: int | None = None

    async def receive(self) -> str | bytes:
        await trio.sleep(0.002)
        text = self._says(self.said)
        if text is None:
            await trio.sleep_forever()
        self.said += 1
        return text

    async def send(self, text: str) -> None:
        if not self._reads:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    async def aclose(self, code: int, reason: str, last: str | None = None, *, grace: float = 2.0) -> None:
        self.closed_with = code
        await trio.lowlevel.checkpoint()


def session(peer: FakePeer, hub: Hub) -> Session:
    visitor = Visitor(user="ann", stream="ann")
    return Session(peer, lambda: hub, visitor, SessionPolicy(), random.Random(1))


async def test_a_client_that_pings_and_never_reads_is_closed_before_its_answers_fill_the_memory(
    autojump_clock: MockClock,
) -> None:
    peer = FakePeer(lambda n: '{"type":"ping","n":"x"}', reads=False)
    with trio.fail_after(60):
        await session(peer, Hub(MemoryStore())).run()
    assert peer.closed_with == 4508
    assert peer.said < 2_000


class Forgetful(MemoryStore):
    """Notes the first failure, and then cannot say whether it did."""

    unknown = True

    async def fail(self, stream: str, epoch: str, seq: int, failure: Failure) -> tuple[Failure, ...]:
        history = await super().fail(stream, epoch, seq, failure)
        if self.unknown:
            self.unknown = False
            raise OutcomeUnknown("store", "the connection was lost")
        return history


async def test_a_rejection_is_counted_once_also_when_the_store_must_be_asked_again(
    autojump_clock: MockClock,
) -> None:
    store = Forgetful()
    hub = Hub(store, wall=trio.current_time)
    await hub.enqueue("ann", 1)
    peer = FakePeer(lambda n: '{"type":"nack","seq":1,"reason":"no"}' if n == 0 else None, reads=True)
    with trio.move_on_after(5):
        await session(peer, hub).run()
    head = await store.open("ann")
    probe = Failure(at=-1.0, reason="probe")
    history = await store.fail("ann", head.epoch, 1, probe)
    assert [failure.reason for failure in history] == ["no", "probe"]
