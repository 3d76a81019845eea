"""What becomes of waiting mail when its actor ends."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    Actor,
    ActorStopped,
    Backoff,
    MailDropped,
    MailFate,
    Name,
    Supervisor,
    System,
    TreeError,
    child,
    open_runtime,
    supervisor,
)

HANDLED: list[str] = []


@attrs.define
class Clerk(Actor):
    async def work(self, what: str) -> str:
        HANDLED.append(what)
        return what

    async def crash_soon(self) -> None:
        await trio.sleep(1)
        raise ValueError("boom")


CLERK, BOSS = Name(Clerk, "clerk"), Name(Supervisor, "boss")


def office(**options: object) -> object:
    HANDLED.clear()
    clerk = child("clerk", Clerk, name=CLERK, **options)  # type: ignore[arg-type] # test helper
    return supervisor("app", clerk, name=BOSS)


async def crash_with_mail_waiting(answers: list[object]) -> None:
    """A cast and a call wait when the actor crashes; a cast comes while it is down."""

    async def ask() -> None:
        try:
            answers.append(await CLERK.call(Clerk.work, "call"))
        except MailDropped as error:
            answers.append(type(error))

    CLERK.cast(Clerk.crash_soon)
    await wait_all_tasks_blocked()
    CLERK.cast(Clerk.work, "cast")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1.05)
        CLERK.cast(Clerk.work, "meanwhile")
        await trio.sleep(3)


@pytest.mark.parametrize(
    ("fate", "handled", "answer", "letters"),
    [
        (MailFate.KEEP, ["cast", "call", "meanwhile"], "call", []),
        (MailFate.DROP, ["meanwhile"], MailDropped, []),
        (MailFate.DEAD_LETTER, ["meanwhile"], MailDropped, ["work", "work"]),
    ],
)
async def test_over_a_restart_mail_is_kept_dropped_or_put_among_the_dead_letters(
    fate: MailFate, handled: list[str], answer: object, letters: list[str], autojump_clock: MockClock
) -> None:
    answers: list[object] = []
    office_tree = office(mail_on_restart=fate, backoff=Backoff(floor=0.1, base=0.1, cap=0.1))
    async with open_runtime(office_tree) as runtime:  # type: ignore[arg-type] # test helper
        await crash_with_mail_waiting(answers)
        assert (HANDLED, answers) == (handled, [answer])
        assert [letter.message for letter in runtime.dead_letters] == letters
        assert CLERK._find().mailbox.statistics().dropped == (2 if fate is MailFate.DROP else 0)


async def stop_with_mail_waiting() -> list[object]:
    answers: list[object] = []

    async def ask() -> None:
        with pytest.raises(ActorStopped) as caught:
            await CLERK.call(Clerk.work, "call")
        answers.append(caught.type)

    async with trio.open_nursery() as nursery:
        CLERK.cast(Clerk.crash_soon)
        await wait_all_tasks_blocked()
        CLERK.cast(Clerk.work, "cast")
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await BOSS.call(Supervisor.terminate_child, "clerk")
    return answers


@pytest.mark.parametrize(
    ("fate", "handled", "letters"),
    [
        (MailFate.KEEP, ["cast"], ["work"]),  # Of a call: its caller cannot wait for somebody's request.
        (MailFate.DROP, [], []),
        (MailFate.DEAD_LETTER, [], ["work", "work"]),
    ],
)
async def test_at_an_end_on_request_casts_can_be_kept_for_the_next_start(
    fate: MailFate, handled: list[str], letters: list[str], autojump_clock: MockClock
) -> None:
    async with open_runtime(office(mail_on_stop=fate)) as runtime:  # type: ignore[arg-type] # test helper
        assert await stop_with_mail_waiting() == [ActorStopped]
        await BOSS.call(Supervisor.restart_child, "clerk")
        await wait_all_tasks_blocked()
        assert handled == HANDLED
        assert [letter.message for letter in runtime.dead_letters] == letters


@pytest.mark.parametrize("end", ["delete", "stop"])
async def test_kept_mail_of_a_place_that_goes_for_good_becomes_dead_letters(
    end: str, autojump_clock: MockClock
) -> None:
    runtime: System
    async with open_runtime(office(mail_on_stop=MailFate.KEEP)) as runtime:  # type: ignore[arg-type] # test helper
        await stop_with_mail_waiting()
        if end == "delete":
            await BOSS.call(Supervisor.delete_child, "clerk")
    assert [letter.message for letter in runtime.dead_letters] == ["work", "work"]
    assert runtime.dead_letters[-1].why == "the actor is gone for good"


async def test_an_unknown_fate_is_refused_before_anything_starts() -> None:
    with pytest.raises(TreeError, match=r"app/clerk: unknown fate of mail 'keep'; use one of MailFate\.KEEP"):
        async with open_runtime(office(mail_on_restart="keep")):  # type: ignore[arg-type] # what is tested
            pass
