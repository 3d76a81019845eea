"""A mailbox by itself: room, waiting lines, withdrawn calls, closing."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.lowlevel import current_task, wait_task_rescheduled
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.runtime.mailbox import Mailbox, Overflow
from resprout.runtime.message import Call, Message


def note(number: int) -> Message:
    return Message("note", (number,), {})


def numbers(mailbox: Mailbox) -> list[object]:
    return [message.args[0] for message in mailbox.queue]


async def waiting_call(mailbox: Mailbox, number: int) -> None:
    """Wait in *mailbox* as `Ref.call` does, until cancelled or answered."""
    call = Call("note", (number,), {}, current_task(), 5.0, mailbox)
    if not mailbox.offer(call):
        mailbox.queue_in_turn(call)
    await wait_task_rescheduled(call.abort)


async def test_a_closed_mailbox_lets_its_reader_go(autojump_clock: MockClock) -> None:
    mailbox = Mailbox()
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(trio.EndOfChannel):
                    await mailbox.receive()

            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await mailbox.aclose()


async def test_a_sender_who_waits_for_room_learns_of_the_close_even_if_it_is_reopened_at_once() -> None:
    mailbox = Mailbox(capacity=1)
    mailbox.put(note(1))
    async with trio.open_nursery() as nursery:

        async def wait_for_room() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await mailbox.send(note(2))

        nursery.start_soon(wait_for_room)
        await wait_all_tasks_blocked()
        assert [message.args for message in mailbox.close()] == [(1,)]
        mailbox.reopen()


async def test_what_was_put_aside_is_not_forgotten_by_a_close() -> None:
    mailbox = Mailbox()
    mailbox.put(note(1))
    mailbox.stash(mailbox.receive_nowait())
    mailbox.put(note(2))
    assert [message.args for message in mailbox.close()] == [(1,), (2,)]


async def test_newcomers_do_not_overtake_those_who_wait_even_if_there_is_room_already() -> None:
    """Those are let in once most of it is free, or when a newcomer asks; he may have what they leave."""
    mailbox = Mailbox(capacity=4)
    for number in range(4):
        mailbox.put(note(number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.send, note(4))
        await wait_all_tasks_blocked()
        assert mailbox.receive_nowait().args == (0,)
        assert not mailbox.offer(note(5))
        with pytest.raises(trio.WouldBlock):
            mailbox.send_nowait(note(6))
        assert numbers(mailbox) == [1, 2, 3, 4]
        nursery.start_soon(mailbox.send, note(7))
        await wait_all_tasks_blocked()
        assert [mailbox.receive_nowait().args[0] for _ in range(2)] == [1, 2]
        assert mailbox.offer(note(8))
        assert numbers(mailbox) == [3, 4, 7, 8]


async def test_a_call_that_was_dropped_for_a_newer_one_is_not_counted_as_waiting_any_more() -> None:
    dropped: list[Message] = []

    def bury(message: Message, why: str) -> None:
        dropped.append(message)
        if isinstance(message, Call):
            message.fail(LookupError("dropped"))

    mailbox = Mailbox(capacity=4, overflow=Overflow.DROP_OLDEST, bury=bury)
    async with trio.open_nursery() as nursery:

        async def wait_in_vain() -> None:
            with pytest.raises(LookupError):
                await waiting_call(mailbox, 0)

        nursery.start_soon(wait_in_vain)
        await wait_all_tasks_blocked()
        for number in (1, 2, 3, 4):
            mailbox.offer(note(number))
    assert [message.args for message in dropped] == [(0,)]
    assert len(mailbox) == len(mailbox.queue) == 4


async def test_a_plain_reader_and_a_plain_sender_see_a_trio_channel() -> None:
    mailbox = Mailbox(capacity=2)
    await mailbox.send(note(1))
    mailbox.send_nowait(note(2))
    with pytest.raises(trio.WouldBlock):
        mailbox.send_nowait(note(3))
    assert (await mailbox.receive()).args == (1,)
    assert mailbox.statistics().waiting == 1
    await mailbox.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await mailbox.send(note(4))
    with pytest.raises(trio.ClosedResourceError):
        mailbox.send_nowait(note(4))
    with pytest.raises(trio.EndOfChannel):
        await mailbox.receive()


async def test_a_full_mailbox_that_rejects_says_so_at_once_and_counts_it() -> None:
    mailbox = Mailbox(capacity=1, overflow=Overflow.REJECT)
    await mailbox.send(note(1))
    with pytest.raises(trio.WouldBlock):
        await mailbox.send(note(2))
    assert mailbox.statistics().dropped == 1


STEPS = st.lists(st.sampled_from(["cast", "call", "send", "give up", "take"]), max_size=60)


@given(steps=STEPS, capacity=st.integers(1, 4))
def test_whatever_happens_messages_come_in_order_and_the_count_is_right(
    steps: list[str], capacity: int
) -> None:
    """Senders that wait, give up, and are let in; the model is a plain list of who still wants something."""

    async def scenario() -> None:
        mailbox = Mailbox(capacity)
        wanted: list[int] = []  # Accepted or in line, in order, not given up.
        patient: dict[int, trio.CancelScope] = {}  # Calls and sends that may still give up.
        async with trio.open_nursery() as nursery:

            async def wait(number: int, how: Callable[[int], object]) -> None:
                with patient[number]:
                    await how(number)  # type: ignore[misc] # an awaitable either way
                patient.pop(number, None)

            for number, step in enumerate(steps):
                match step:
                    case "cast":
                        try:
                            mailbox.send_nowait(note(number))
                        except trio.WouldBlock:
                            assert len(wanted) >= capacity
                        else:
                            wanted.append(number)
                    case "call" | "send":
                        wanted.append(number)
                        patient[number] = trio.CancelScope()
                        how = (
                            (lambda n: waiting_call(mailbox, n))
                            if step == "call"
                            else (lambda n: mailbox.send(note(n)))
                        )
                        nursery.start_soon(wait, number, how)
                    case "give up" if patient:
                        quitter = next(iter(patient))
                        patient.pop(quitter).cancel()
                        wanted.remove(quitter)
                    case "take" if wanted:
                        message = mailbox.receive_nowait()
                        assert message.args == (wanted.pop(0),)
                        if isinstance(message, Call):
                            message.started = True
                            message.reply(None)
                    case _:
                        pass
                await wait_all_tasks_blocked()
                assert len(mailbox) + mailbox.statistics().blocked_senders == len(wanted)
                assert len(mailbox.queue) <= capacity
            nursery.cancel_scope.cancel()

    trio.run(scenario)
