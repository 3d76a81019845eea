"""Messages: answers, errors, deadlines, order, room."""

import math

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    Actor,
    ActorCrashed,
    ActorStopped,
    CallTimeoutError,
    MailboxFull,
    Name,
    NotFoundError,
    Overflow,
    Ref,
    ReplyError,
    SelfCallError,
    UnknownMessageError,
    child,
    open_runtime,
    supervisor,
)


class NoSuchUser(ReplyError):
    pass


@attrs.define
class Desk(Actor):
    """Does what tests need, and notes what it did."""

    seen: list[object] = attrs.field(factory=list)

    async def add(self, amount: int, *, times: int = 1) -> int:
        self.seen.append(amount)
        return amount * times

    async def nap(self, seconds: float) -> str:
        await trio.sleep(seconds)
        self.seen.append(seconds)
        return "rested"

    async def crash(self) -> None:
        raise ValueError("boom")

    async def deny(self) -> None:
        raise NoSuchUser("ada")

    async def ask_around(self, *errors: Exception) -> None:
        """What a handler does that uses several services at once: trio wraps what fails in a group."""

        async def ask(error: Exception) -> None:
            raise error

        async with trio.open_nursery() as nursery:
            for error in errors:
                nursery.start_soon(ask, error)

    async def call_self(self) -> None:
        await self.context.ref.call(Desk.add, 1)

    async def notes(self) -> list[object]:
        return list(self.seen)

    async def _private(self) -> None:
        raise AssertionError("not callable")


DESK = Name(Desk, "desk")


def desk(**options: object) -> object:
    return supervisor("app", child("desk", Desk, name=DESK, **options))  # type: ignore[arg-type] # test helper


async def test_a_call_returns_what_the_method_returns() -> None:
    async with open_runtime(desk()):
        assert await DESK.call(Desk.add, 2, times=3) == 6


async def test_a_crash_wakes_the_caller_at_once_and_the_ref_still_works(autojump_clock: MockClock) -> None:
    async with open_runtime(desk()) as runtime:
        ref: Ref[Desk] = runtime.ref("app/desk")  # type: ignore[assignment] # found by path, so untyped
        with pytest.raises(ActorCrashed, match=r"app/desk crashed .*boom") as caught:
            await ref.call(Desk.crash)
        assert isinstance(caught.value.cause, ValueError)
        assert trio.current_time() < 0.001 + autojump_clock.current_time()
        assert await ref.call(Desk.add, 1) == 1
        assert runtime.snapshot().children[0].restarts == 1


async def test_a_reply_error_goes_to_the_caller_and_the_actor_lives() -> None:
    async with open_runtime(desk()) as runtime:
        with pytest.raises(NoSuchUser, match="ada"):
            await DESK.call(Desk.deny)
        assert runtime.snapshot().children[0].generation == 1


async def test_a_reply_error_in_a_group_is_an_answer_too_and_comes_out_bare() -> None:
    async with open_runtime(desk()) as runtime:
        with pytest.raises(NoSuchUser, match="ada"):
            await DESK.call(Desk.ask_around, NoSuchUser("ada"))
        with pytest.raises(ExceptionGroup) as caught:
            await DESK.call(Desk.ask_around, NoSuchUser("ada"), NoSuchUser("bob"))
        assert sorted(str(error) for error in caught.value.exceptions) == ["ada", "bob"]
        DESK.cast(Desk.ask_around, NoSuchUser("ada"))
        await DESK.call(Desk.add, 1)
        assert runtime.snapshot().children[0].generation == 1


async def test_a_group_with_any_other_error_is_a_crash() -> None:
    async with open_runtime(desk()) as runtime:
        with pytest.raises(ActorCrashed) as caught:
            await DESK.call(Desk.ask_around, NoSuchUser("ada"), OSError("boom"))
        assert isinstance(caught.value.cause, ExceptionGroup)
        assert len(caught.value.cause.exceptions) == 2
        await wait_all_tasks_blocked()
        assert runtime.snapshot().children[0].generation == 2


async def test_a_cast_from_another_thread_is_refused_and_hurts_nobody() -> None:
    async with open_runtime(desk()):
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="must be called from async context"):
            await trio.to_thread.run_sync(DESK.cast, Desk.add, 1)
        await trio.to_thread.run_sync(trio.from_thread.run_sync, DESK.cast, Desk.add, 2)  # This is the way.
        assert await DESK.call(Desk.notes) == [2]


async def test_mail_that_waited_survives_the_crash_and_the_crashing_message_is_not_tried_again() -> None:
    async with open_runtime(desk()), trio.open_nursery() as nursery:
        DESK.cast(Desk.nap, 0.01)
        DESK.cast(Desk.crash)
        DESK.cast(Desk.add, 7)
        nursery.cancel_scope.deadline = math.inf
        assert await DESK.call(Desk.notes) == [7]


async def test_a_call_that_expires_while_it_waits_never_runs(autojump_clock: MockClock) -> None:
    async with open_runtime(desk()):
        DESK.cast(Desk.nap, 10)
        with pytest.raises(CallTimeoutError, match="withdrawn and never ran") as caught:
            await DESK.within(2).call(Desk.add, 1)
        assert not caught.value.started
        assert await DESK.within(30).call(Desk.notes) == [10]


async def test_a_call_that_expires_at_work_says_so_and_its_late_reply_harms_nobody(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(desk()):
        before = trio.current_time()
        with pytest.raises(CallTimeoutError, match="still at work") as caught:
            await DESK.call(Desk.nap, 8)
        assert caught.value.started
        assert trio.current_time() - before == pytest.approx(5.0)
        assert await DESK.call(Desk.add, 3) == 3


async def test_a_cancelled_call_is_withdrawn(autojump_clock: MockClock) -> None:
    async with open_runtime(desk()):
        DESK.cast(Desk.nap, 4)
        with trio.move_on_after(1):
            await DESK.call(Desk.add, 1)
        assert await DESK.call(Desk.notes) == [4]


async def test_a_withdrawn_call_never_runs_even_if_it_stays_in_the_queue(autojump_clock: MockClock) -> None:
    async with open_runtime(desk()):
        DESK.cast(Desk.nap, 4)
        for number in range(6):
            DESK.cast(Desk.add, number)  # So few are withdrawn that nobody clears the queue.
        with trio.move_on_after(1):
            await DESK.call(Desk.add, 99)
        DESK.cast(Desk.add, 6)
        assert await DESK.call(Desk.notes) == [4, *range(7)]


async def test_messages_of_one_sender_are_handled_in_their_order() -> None:
    async with open_runtime(desk()):
        for number in range(500):
            DESK.cast(Desk.add, number)
        assert await DESK.call(Desk.notes) == list(range(500))


async def test_an_actor_that_calls_itself_is_refused_and_not_left_to_time_out() -> None:
    async with open_runtime(desk()):
        with pytest.raises(ActorCrashed) as caught:
            await DESK.call(Desk.call_self)
        assert isinstance(caught.value.cause, SelfCallError)


async def test_private_methods_and_wrong_arguments_are_the_callers_mistake() -> None:
    async with open_runtime(desk()) as runtime:
        with pytest.raises(UnknownMessageError, match="no such public async method"):
            await DESK.call(Desk._private)
        with pytest.raises(UnknownMessageError, match="unexpected keyword"):
            await DESK.call(Desk.add, 1, colour=2)  # type: ignore[call-arg] # wrong on purpose
        assert runtime.snapshot().children[0].generation == 1


async def test_calls_after_the_end_raise_and_casts_become_dead_letters() -> None:
    async with open_runtime(desk()) as runtime:
        ref = DESK.within(1)
        bound: Ref[Desk] = runtime.ref("app/desk")  # type: ignore[assignment] # found by path, so untyped
        await runtime.stop()
        with pytest.raises(ActorStopped):
            await bound.call(Desk.add, 1)
        with pytest.raises(ActorStopped):
            await bound.send(Desk.add, 1)
        bound.cast(Desk.add, 1)
        assert [letter.message for letter in runtime.dead_letters] == ["add"]
        with pytest.raises(NotFoundError):
            await ref.call(Desk.add, 1)


async def test_a_name_outside_of_a_runtime_says_what_is_missing() -> None:
    with pytest.raises(NotFoundError, match="open_runtime"):
        await DESK.call(Desk.add, 1)


async def test_a_full_mailbox_makes_send_wait_and_cast_fail(autojump_clock: MockClock) -> None:
    async with open_runtime(desk(mailbox=2)):
        DESK.cast(Desk.nap, 3)
        await wait_all_tasks_blocked()
        DESK.cast(Desk.add, 1)
        DESK.cast(Desk.add, 2)
        with pytest.raises(MailboxFull):
            DESK.cast(Desk.add, 3)
        before = trio.current_time()
        await DESK.send(Desk.add, 4)
        assert trio.current_time() - before == pytest.approx(3)
        assert await DESK.call(Desk.notes) == [3, 1, 2, 4]


async def test_callers_who_wait_for_room_come_in_their_order_and_none_overtakes(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(desk(mailbox=1)), trio.open_nursery() as nursery:
        DESK.cast(Desk.nap, 1)
        await wait_all_tasks_blocked()
        for number in range(20):
            nursery.start_soon(DESK.call, Desk.add, number)
            await wait_all_tasks_blocked()
        assert (await DESK.call(Desk.notes)) == [1, *range(20)]


async def test_callers_who_gave_up_waiting_for_room_leave_the_line(autojump_clock: MockClock) -> None:
    async with open_runtime(desk(mailbox=1)), trio.open_nursery() as nursery:
        DESK.cast(Desk.nap, 10)
        await wait_all_tasks_blocked()
        DESK.cast(Desk.add, 1)

        async def give_up(number: int) -> None:
            with pytest.raises(CallTimeoutError):
                await DESK.within(2).call(Desk.add, number)

        for number in range(10, 15):
            nursery.start_soon(give_up, number)
        await trio.sleep(5)
        assert await DESK.within(30).call(Desk.notes) == [10, 1]


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [(Overflow.DROP_OLDEST, [1, 2]), (Overflow.DROP_NEWEST, [0, 1])],
)
async def test_overflow_rules_drop_the_right_message_and_count_it(
    overflow: Overflow, kept: list[int], autojump_clock: MockClock
) -> None:
    async with open_runtime(desk(mailbox=2, overflow=overflow)) as runtime:
        DESK.cast(Desk.nap, 1)
        await wait_all_tasks_blocked()
        for number in range(3):
            DESK.cast(Desk.add, number)
        await trio.sleep(2)
        assert await DESK.call(Desk.notes) == [1, *kept]
        assert runtime.dead_letter_count == 1


async def test_withdrawn_calls_do_not_fill_the_mailbox(autojump_clock: MockClock) -> None:
    async with open_runtime(desk(mailbox=10)), trio.open_nursery() as nursery:
        DESK.cast(Desk.nap, 4)
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            async with trio.open_nursery() as impatient:
                for number in range(10):
                    impatient.start_soon(DESK.call, Desk.add, number)
        for _ in range(10):
            DESK.cast(Desk.add, 99)
        assert await DESK.call(Desk.notes) == [4, *[99] * 10]
        nursery.cancel_scope.cancel()


async def test_plain_trio_code_feeds_an_actor_through_a_channel() -> None:
    async with open_runtime(desk()), DESK.channel(Desk.add) as channel:
        for number in (1, 2, 3):
            await channel.send(number)
        assert await DESK.call(Desk.notes) == [1, 2, 3]


async def test_a_deadline_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"more than 0 seconds, not -1"):
        DESK.within(-1)
