"""The line keeps slots and commands aligned, whatever happens in which order."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resprout.actors.redis.line import Line, LinkLimits
from resprout.actors.redis.slot import Slot
from resprout.runtime.errors import Sent


class CountingWire:
    """A wire that goes nowhere; `take` moves its counters."""

    def __init__(self) -> None:
        self.attempted = self.flushed = 0


class LineMachine(RuleBasedStateMachine):
    """Compares the line with a model: the list of all commands and a cursor into the bytes of them all."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = CountingWire()
        self.line = Line(self.wire, LinkLimits(max_in_flight=6, max_unsent_bytes=40))  # type: ignore[arg-type]
        self.commands: list[tuple[Slot, int]] = []  # All that were ever added, and their sizes.
        self.batch = b""
        self.written = 0
        self.before_batch = 0  # Bytes of the batches that are done.
        self.answered = 0

    @rule(size=st.integers(1, 20))
    def add(self, size: int) -> None:
        slot = Slot(None, 0.0)
        slot.task = object()  # type: ignore[assignment]  # Somebody waits; nobody is woken here.
        self.line.add(slot, b"x" * size)
        self.commands.append((slot, size))

    @rule(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
    def add_many(self, sizes: list[int]) -> None:
        slots = [Slot(None, 0.0) for _ in sizes]
        slots[-1].task = object()  # type: ignore[assignment]
        self.line.add_many(slots, [b"y" * size for size in sizes])
        self.commands.extend(zip(slots, sizes, strict=True))

    @precondition(lambda self: self.line.unsent and not self.batch)
    @rule()
    def begin_batch(self) -> None:
        self.batch = self.line.begin_batch()

    @precondition(lambda self: self.batch)
    @rule(count=st.integers(1, 100))
    def write_some(self, count: int) -> None:
        left = len(self.batch) - (self.written - self.before_batch)
        self.written += min(count, left)
        self.wire.attempted = self.wire.flushed = self.written

    @precondition(lambda self: self.batch and self._batch_is_written())
    @rule()
    def end_batch(self) -> None:
        size, self.batch = len(self.batch), b""
        self.before_batch += size
        self.line.end_batch(size)

    @precondition(lambda self: self._whole_commands() > self.answered)
    @rule()
    def answer(self) -> None:
        slot, _ = self.commands[self.answered]
        assert self.line.pending.popleft() is slot
        self.answered += 1
        self.line.refill()

    @invariant()
    def only_whole_commands_can_be_answered(self) -> None:
        assert self.line.answerable() == self._whole_commands() - self.answered

    @invariant()
    def slots_wait_in_the_order_of_their_commands(self) -> None:
        slots = [slot for slot, _ in self.commands]
        assert self.line.pending == deque(slots[self.answered : self.answered + len(self.line.pending)])

    def teardown(self) -> None:
        whole = self._whole_commands()
        waiting = self.commands[self.answered :]
        for slot, _ in self.commands:
            slot.task = None
        self.line.fail(ConnectionResetError())
        for number, (slot, _) in enumerate(waiting, start=self.answered):
            expected = Sent.YES if number < whole else Sent.NO
            assert slot.reply.sent is expected  # type: ignore[attr-defined]

    def _batch_is_written(self) -> bool:
        return self.written - self.before_batch == len(self.batch)

    def _whole_commands(self) -> int:
        total = whole = 0
        for _, size in self.commands:
            total += size
            whole += total <= self.written
        return whole


TestLine = LineMachine.TestCase
TestLine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
