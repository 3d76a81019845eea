"""The mailbox against a model of plain lists: every overflow rule, senders in line, withdrawn calls, closing.

The model knows neither a limit nor withdrawn calls that stay in the queue: one list holds who is in or waits
for room, in order. Only where senders stand in line is it asked how many do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.lowlevel import current_task, wait_task_rescheduled
from trio.testing import wait_all_tasks_blocked

from resprout.runtime.mailbox import Mailbox, Overflow
from resprout.runtime.message import Call, Message
from resprout.runtime.signals import StopOrder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

VERBS = ["cast", "send", "call", "put", "discard", "give up", "take", "read", "close", "reopen"]
OFTEN = ["cast", "send", "call", "call", "take", "give up"]
LANE = ["signal", "overrule", "take back", "forget"]
STEPS = st.lists(st.tuples(st.sampled_from(VERBS + OFTEN + LANE), st.integers(0, 5)), max_size=60)


@attrs.define
class Model:
    """What a mailbox of *capacity* holds and has done, by the numbers of the messages."""

    capacity: int
    overflow: Overflow
    wanted: list[int] = attrs.field(factory=list)  # In the queue, or in line for it.
    calls: set[int] = attrs.field(factory=set)  # Of those: whose sender waits for an answer.
    taken: list[int] = attrs.field(factory=list)
    buried: list[int] = attrs.field(factory=list)
    refused: set[int] = attrs.field(factory=set)  # Their senders were told.
    dropped: int = 0
    closed: bool = False
    reading: bool = False  # A reader waits for the next message.
    ended: int = 0  # Readers who learned that nothing will come.
    lane: list[int] = attrs.field(factory=list)

    def arrive(self, number: int, how: str) -> None:
        """A message that its sender may have to wait with, or not."""
        if self.closed:
            self.refused.add(number)
        elif len(self.wanted) < self.capacity:
            self.accept(number, how)
        else:
            self.overflows(number, how)

    def overflows(self, number: int, how: str) -> None:
        match self.overflow:
            case Overflow.BLOCK if how == "cast":
                self.refused.add(number)
            case Overflow.BLOCK:
                self.accept(number, how)
            case Overflow.REJECT:
                self.dropped += 1
                self.refused.add(number)
            case Overflow.DROP_NEWEST:
                self.dropped += 1
                (self.refused.add if how == "call" else self.buried.append)(number)
            case Overflow.DROP_OLDEST:
                self.dropped += 1
                oldest = self.wanted.pop(0)
                self.buried.append(oldest)
                if oldest in self.calls:
                    self.refused.add(oldest)
                self.accept(number, how)

    def accept(self, number: int, how: str, ahead_of: int = 0) -> None:
        self.wanted.insert(len(self.wanted) - ahead_of, number)
        if how == "call":
            self.calls.add(number)
        self.read()

    def read(self) -> None:
        if self.reading and (self.wanted or self.closed):
            self.reading = False
            if self.wanted:
                self.taken.append(self.wanted.pop(0))
            else:
                self.ended += 1

    def close(self, in_line: set[int]) -> list[int]:
        """Returns what is left: all but the messages of those who stand in line to send."""
        left = [number for number in self.wanted if number not in in_line or number in self.calls]
        self.refused.update(in_line | (self.calls & set(self.wanted)))
        self.wanted, self.closed = [], True
        self.read()
        return left


class World:
    """A mailbox with its senders and its reader, and the model beside it."""

    def __init__(self, model: Model, nursery: trio.Nursery) -> None:
        self.model, self.nursery = model, nursery
        self.mailbox = Mailbox(model.capacity, model.overflow, bury=self._bury)
        self.taken: list[int] = []
        self.buried: list[int] = []
        self.refused: set[int] = set()
        self.ended = 0
        self.patient: dict[int, trio.CancelScope] = {}
        self.sending: set[int] = set()  # Who waits in `send`.
        self.posted: dict[int, Message] = {}  # What the runtime itself put there.
        self.signals: dict[int, StopOrder] = {}

    def step(self, number: int, verb: str, choice: int) -> None:
        model, mailbox = self.model, self.mailbox
        match verb:
            case "cast":
                model.arrive(number, verb)
                try:
                    mailbox.send_nowait(note(number))
                except (trio.WouldBlock, trio.ClosedResourceError):
                    self.refused.add(number)
            case "send" | "call":
                model.arrive(number, verb)
                self.patient[number] = trio.CancelScope()
                self.nursery.start_soon(self._wait, number, self._send if verb == "send" else self._call)
            case "put" if not model.closed:
                model.accept(number, verb, ahead_of=mailbox.statistics().blocked_senders)
                self.posted[number] = note(number)
                mailbox.put(self.posted[number])
            case "discard" if self.posted:
                number, message = self.posted.popitem()
                if number in model.wanted:
                    model.wanted.remove(number)
                mailbox.discard(message)
            case "give up" if self.patient:
                quitter = sorted(self.patient)[choice % len(self.patient)]
                self.patient.pop(quitter).cancel()
                model.wanted.remove(quitter)
            case "take" if not model.reading:
                self._take()
            case "read" if not model.reading:
                model.reading = True
                model.read()
                self.nursery.start_soon(self._read)
            case "close":
                left = model.close(self.sending.copy())
                messages = mailbox.close()
                assert [message.args[0] for message in messages] == left
                for message in messages:
                    fail(message)
            case "reopen" if model.closed:
                model.closed = False
                mailbox.reopen()
            case _:
                self._step_in_the_lane(number, verb, choice)

    def _step_in_the_lane(self, number: int, verb: str, choice: int) -> None:
        signal = StopOrder(reason=None)  # type: ignore[arg-type] # never obeyed here
        match verb:
            case "signal" | "overrule":
                self.model.lane.insert(len(self.model.lane) if verb == "signal" else 0, number)
                self.signals[number] = signal
                (self.mailbox.signal if verb == "signal" else self.mailbox.overrule)(signal)
            case "take back" if self.signals:
                back = sorted(self.signals)[choice % len(self.signals)]
                if back in self.model.lane:
                    self.model.lane.remove(back)
                self.mailbox.take_back(self.signals[back])
            case "forget":
                self.model.lane.clear()
                self.mailbox.forget_signals()
            case _:
                pass

    def check(self) -> None:
        model, mailbox, numbers = self.model, self.mailbox, mailbox_numbers(self.mailbox)
        assert (self.taken, self.buried, self.ended) == (model.taken, model.buried, model.ended)
        assert self.refused == model.refused
        seen = mailbox.statistics()
        assert (seen.waiting + seen.blocked_senders, seen.dropped) == (len(model.wanted), model.dropped)
        assert numbers == model.wanted[: seen.waiting]
        if seen.blocked_senders:
            assert model.overflow is Overflow.BLOCK
            assert len(mailbox.queue) > mailbox.ebb  # Nobody waits while most of the room is free.
        assert [self.signals[number] for number in model.lane] == list(mailbox.control)

    def _bury(self, message: Message, why: str) -> None:
        self.buried.append(message.args[0])  # type: ignore[arg-type] # a number
        fail(message)

    def _take(self) -> None:
        model = self.model
        try:
            message = self.mailbox.receive_nowait()
        except trio.WouldBlock:
            assert (model.wanted, model.closed) == ([], False)
        except trio.EndOfChannel:
            assert (model.wanted, model.closed) == ([], True)
        else:
            model.taken.append(model.wanted.pop(0))
            self._took(message)

    async def _read(self) -> None:
        try:
            self._took(await self.mailbox.receive())
        except trio.EndOfChannel:
            self.ended += 1

    def _took(self, message: Message) -> None:
        self.taken.append(message.args[0])  # type: ignore[arg-type] # a number
        if isinstance(message, Call):
            message.started = True
            message.reply(None)

    async def _wait(self, number: int, how: Callable[[int], Awaitable[None]]) -> None:
        with self.patient[number]:
            try:
                await how(number)
            except (trio.WouldBlock, trio.ClosedResourceError, LookupError):
                self.refused.add(number)
        self.patient.pop(number, None)

    async def _send(self, number: int) -> None:
        self.sending.add(number)
        try:
            await self.mailbox.send(note(number))
        finally:
            self.sending.discard(number)

    async def _call(self, number: int) -> None:
        """As `Ref.call` does."""
        if self.mailbox.closed:
            raise trio.ClosedResourceError
        call = Call("note", (number,), {}, current_task(), 5.0, self.mailbox)
        if not self.mailbox.offer(call):
            self.mailbox.queue_in_turn(call)
        await wait_task_rescheduled(call.abort)


def note(number: int) -> Message:
    return Message("note", (number,), {})


def fail(message: Message) -> None:
    if isinstance(message, Call):
        message.fail(LookupError("it will never run"))


def mailbox_numbers(mailbox: Mailbox) -> list[object]:
    """What may still run of the queue."""
    return [m.args[0] for m in mailbox.queue if not isinstance(m, Call) or m.task is not None]


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 4), st.sampled_from(Overflow))
def test_a_mailbox_does_what_a_plain_list_would(
    steps: list[tuple[str, int]], capacity: int, overflow: Overflow
) -> None:
    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            world = World(Model(capacity, overflow), nursery)
            for number, (verb, choice) in enumerate(steps):
                world.step(number, verb, choice)
                await wait_all_tasks_blocked()
                world.check()
            nursery.cancel_scope.cancel()

    trio.run(scenario)
