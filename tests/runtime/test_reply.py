"""Answers that are given later. OTP's statement 58."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    TEMPORARY,
    Actor,
    ActorCrashed,
    CallTimeoutError,
    Name,
    Reply,
    ReplyError,
    Shutdown,
    StateMachine,
    child,
    control,
    open_runtime,
    supervisor,
)


class SoldOut(ReplyError):
    pass


@attrs.define
class Counter(Actor):
    """Whoever takes waits until somebody gives."""

    waiting: list[Reply[str]] = attrs.field(factory=list)
    served: list[bool] = attrs.field(factory=list)

    async def take(self) -> str:
        reply: Reply[str] = self.context.reply_later()
        self.waiting.append(reply)
        return reply.promise

    async def take_within(self, seconds: float) -> str:
        reply: Reply[str] = self.context.reply_later()
        self.context.start_soon(self._give_after, seconds, reply)
        return reply.promise

    async def _give_after(self, seconds: float, reply: Reply[str]) -> None:
        await trio.sleep(seconds)
        self.served.append(reply.send("at last"))

    async def give(self, what: str) -> bool:
        return self.waiting.pop(0).send(what)

    async def deny(self) -> bool:
        return self.waiting.pop(0).fail(SoldOut("sold out"))

    async def answer_at_once_after_all(self) -> str:
        reply: Reply[str] = self.context.reply_later()
        self.waiting.append(reply)
        return "now"

    async def hand_over(self) -> Reply[str]:
        return self.waiting.pop(0)

    async def still_waited_for(self) -> list[bool]:
        return [reply.waited_for for reply in self.waiting]

    async def crash(self) -> None:
        raise ValueError("boom")

    async def promise_beside(self) -> None:
        self.context.start_soon(self._promise)
        await trio.sleep(1)

    async def _promise(self) -> None:
        self.context.reply_later()


COUNTER = Name(Counter, "counter")
TREE = supervisor("app", child("counter", Counter, name=COUNTER), intensity=9)


async def test_the_actor_serves_others_before_it_answers() -> None:
    async with open_runtime(TREE), trio.open_nursery() as nursery:
        got: list[str] = []

        async def take() -> None:
            got.append(await COUNTER.call(Counter.take))

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        assert got == []
        assert await COUNTER.call(Counter.give, "pear")
        await wait_all_tasks_blocked()
        assert got == ["pear"]
        assert await COUNTER.call(Counter.give, "plum")


async def test_an_error_can_be_the_late_answer() -> None:
    async with open_runtime(TREE), trio.open_nursery() as nursery:

        async def take() -> None:
            with pytest.raises(SoldOut):
                await COUNTER.call(Counter.take)

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        assert await COUNTER.call(Counter.deny)


async def test_a_background_task_and_anybody_who_holds_the_reply_may_answer(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(TREE), trio.open_nursery() as nursery:
        assert await COUNTER.call(Counter.take_within, 3) == "at last"

        async def take() -> None:
            assert await COUNTER.call(Counter.take) == "from outside"

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        reply = await COUNTER.call(Counter.hand_over)
        assert reply.send("from outside")
        assert not reply.send("again")


async def test_a_late_answer_to_a_caller_who_has_gone_goes_nowhere(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        with pytest.raises(CallTimeoutError):
            await COUNTER.call(Counter.take)
        with trio.move_on_after(1):
            await COUNTER.call(Counter.take)
        COUNTER.cast(Counter.take)  # Nobody waits for a cast from the beginning.
        assert await COUNTER.call(Counter.still_waited_for) == [False, False, False]
        assert [await COUNTER.call(Counter.give, "late") for _ in range(3)] == [False, False, False]


async def test_the_first_answer_counts() -> None:
    async with open_runtime(TREE):
        assert await COUNTER.call(Counter.answer_at_once_after_all) == "now"
        assert not await COUNTER.call(Counter.give, "too late")


@pytest.mark.parametrize("how", ["crash", "kill", "stop"])
async def test_whoever_was_promised_an_answer_hears_at_once_that_the_actor_has_ended(
    how: str, autojump_clock: MockClock
) -> None:
    async with open_runtime(TREE), trio.open_nursery() as nursery:
        heard: list[float] = []

        async def take() -> None:
            with pytest.raises(ActorCrashed):
                await COUNTER.within(60).call(Counter.take)
            heard.append(trio.current_time())

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        cell, now = COUNTER._find(), trio.current_time()
        match how:
            case "crash":
                COUNTER.cast(Counter.crash)
            case "kill":
                cell.kill()
            case _:
                cell.leave(Shutdown("enough"))
        await wait_all_tasks_blocked()
        assert heard == [now]
        assert await COUNTER.call(Counter.still_waited_for) == []  # The successor starts afresh.


async def test_only_the_message_in_work_can_be_answered_later(autojump_clock: MockClock) -> None:
    async with open_runtime(supervisor("app", child("counter", Counter, name=COUNTER, restart=TEMPORARY))):
        with pytest.raises(ActorCrashed, match="not at work on a message here"):
            await COUNTER.call(Counter.promise_beside)


async def test_promises_to_callers_who_have_gone_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        for _ in range(500):
            with trio.move_on_after(0.001):
                await COUNTER.call(Counter.take)
        incarnation = COUNTER._find().incarnation
        assert incarnation is not None
        assert incarnation.promises is not None
        assert len(incarnation.promises) <= 65


@attrs.frozen
class Closed:
    pass


@attrs.frozen
class Open:
    pass


class Gate(StateMachine[Closed | Open]):
    """Answers whoever wants to pass when it opens."""

    def __init__(self) -> None:
        self.waiting: list[Reply[str]] = []

    def initial(self) -> Closed | Open:
        return Closed()

    async def enter(self) -> str:
        reply: Reply[str] = self.context.reply_later()
        self.waiting.append(reply)
        return reply.promise

    async def promise_and_postpone(self) -> str:
        reply: Reply[str] = self.context.reply_later()
        self.postpone()
        return reply.promise

    async def open(self) -> None:
        self.become(Open())
        for reply in self.waiting:
            reply.send("welcome")


GATE = Name(Gate, "gate")


async def test_a_state_machine_can_promise_an_answer_too_but_not_postpone_what_it_promised() -> None:
    async with (
        open_runtime(child("gate", Gate, name=GATE, restart=TEMPORARY)),
        trio.open_nursery() as nursery,
    ):

        async def enter() -> None:
            assert await GATE.call(Gate.enter) == "welcome"

        nursery.start_soon(enter)
        await wait_all_tasks_blocked()
        await GATE.call(Gate.open)
        assert (await control(GATE).get_state())["state"] == Open()
        with pytest.raises(ActorCrashed, match="promised to answer this message later"):
            await GATE.call(Gate.promise_and_postpone)
