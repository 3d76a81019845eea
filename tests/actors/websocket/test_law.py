"""The conservation law, after every step of random histories."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resprout.actors.websocket.errors import ConservationBroken, QueueFull
from resprout.actors.websocket.law import Counts, check_conservation
from resprout.actors.websocket.memory_store import MemoryStore
from resprout.actors.websocket.store import Failure, NewMessage

T = TypeVar("T")


def test_a_message_lost_or_counted_twice_breaks_the_law() -> None:
    check_conservation(Counts(accepted=6, acked=1, pending=2, in_flight=1, dead=1, expired=1))
    for wrong in (Counts(accepted=1), Counts(acked=1), Counts(accepted=1, pending=2, dead=-1)):
        with pytest.raises(ConservationBroken):
            check_conservation(wrong)


class Books(RuleBasedStateMachine):
    """A store against a list of what became of each message, kept by the test itself."""

    streams = ("ann", "bob")

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(max_stream_bytes=20 * 210)
        self.fate: dict[tuple[str, str], str] = {}  # (stream, id) -> pending, acked, dead, expired
        self.order: dict[str, list[str]] = {stream: [] for stream in self.streams}
        self.sequences: dict[str, dict[str, int]] = {stream: {} for stream in self.streams}
        self.deadlines: dict[tuple[str, str], float] = {}
        self.now = 0.0
        self.made = 0

    def run(self, step: Callable[[], Awaitable[T]]) -> T:
        """One step in a loop of its own, whose clock stands at 0: the store belongs to no loop."""
        return trio.run(step, clock=trio.testing.MockClock())

    def epoch(self, stream: str) -> str:
        return self.run(lambda: self.store.open(stream)).epoch

    @rule(stream=st.sampled_from(streams), count=st.integers(1, 4), lifetime=st.none() | st.integers(1, 9))
    def enqueue(self, stream: str, count: int, lifetime: int | None) -> None:
        ids = [f"m{self.made + n}" for n in range(count)]
        self.made += count
        expires_at = None if lifetime is None else self.now + lifetime
        batch = [NewMessage(id=id, data=b"{}", expires_at=expires_at) for id in ids]
        try:
            seqs = self.run(lambda: self.store.append(stream, batch))
        except QueueFull:
            assert len(self.order[stream]) + count > 20
            return
        for id, seq in zip(ids, seqs, strict=True):
            self.fate[stream, id] = "pending"
            self.order[stream].append(id)
            self.sequences[stream][id] = seq
            if expires_at is not None:
                self.deadlines[stream, id] = expires_at

    @precondition(lambda self: self.fate)
    @rule(data=st.data())
    def enqueue_again(self, data: st.DataObject) -> None:
        stream, id = data.draw(st.sampled_from(sorted(self.fate)))
        self.run(lambda: self.store.append(stream, [NewMessage(id=id, data=b"{}")]))

    @rule(stream=st.sampled_from(streams), count=st.integers(1, 5))
    def acknowledge(self, stream: str, count: int) -> None:
        epoch, done = self.epoch(stream), self.order[stream][:count]
        if done:
            through = self.sequences[stream][done[-1]]
            assert self.run(lambda: self.store.ack(stream, epoch, through)) == len(done)
            self.settle(stream, done, "acked")

    @precondition(lambda self: any(self.order.values()))
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from([name for name in self.streams if self.order[name]]))
        id = data.draw(st.sampled_from(self.order[stream]))
        epoch, seq = self.epoch(stream), self.sequences[stream][id]
        self.run(lambda: self.store.fail(stream, epoch, seq, Failure(at=self.now, reason="no")))
        assert self.run(lambda: self.store.bury(stream, epoch, seq, "why", self.now))
        self.settle(stream, [id], "dead")

    @rule(stream=st.sampled_from(streams))
    def redrive(self, stream: str) -> None:
        dead = [id for (name, id), fate in self.fate.items() if name == stream and fate == "dead"]
        dead.sort(key=lambda id: self.sequences[stream][id])
        assert self.run(lambda: self.store.redrive(stream)) == len(dead)
        last = self.run(lambda: self.store.open(stream)).last
        for place, id in enumerate(dead, start=last - len(dead) + 1):
            self.fate[stream, id] = "pending"
            self.order[stream].append(id)
            self.sequences[stream][id] = place
            self.deadlines.pop((stream, id), None)

    @rule(seconds=st.integers(1, 5))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        self.run(lambda: self.store.expire(self.now))
        for (stream, id), deadline in self.deadlines.items():
            if deadline <= self.now and self.fate[stream, id] == "pending":
                self.settle(stream, [id], "expired")

    def settle(self, stream: str, ids: list[str], fate: str) -> None:
        self.order[stream] = [id for id in self.order[stream] if id not in ids]
        for id in ids:
            self.fate[stream, id] = fate

    @invariant()
    def the_law_holds_and_agrees_with_what_happened(self) -> None:
        books = self.run(self.store.audit)
        check_conservation(books)
        fates = list(self.fate.values())
        assert books.accepted == len(fates)
        assert books.acked == fates.count("acked")
        assert books.pending == fates.count("pending")
        assert books.dead == fates.count("dead")
        assert books.expired == fates.count("expired")

    @invariant()
    def what_waits_is_in_order(self) -> None:
        for stream in self.streams:
            epoch = self.epoch(stream)
            page = self.run(lambda: self.store.read(stream, epoch, 0, count=99, size=10**6))  # noqa: B023 - runs at once.
            assert [message.id for message in page] == self.order[stream]


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
