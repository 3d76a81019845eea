"""Timers: casts to oneself, at a moment or at each of many."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import Actor, MailboxFull, Name, Overflow, Timer, child, open_runtime, supervisor


@attrs.define
class Clock(Actor):
    beats: list[float] = attrs.field(factory=list)
    timer: Timer | None = None

    async def beat(self) -> None:
        self.beats.append(trio.current_time() - self.context.cell.since)

    async def every(self, seconds: float) -> None:
        self.timer = self.context.every(seconds, Clock.beat)

    async def after(self, seconds: float) -> None:
        self.timer = self.context.after(seconds, Clock.beat)

    async def cancel(self) -> None:
        assert self.timer is not None
        self.timer.cancel()

    async def block(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def block_and_cancel(self, seconds: float) -> None:
        await trio.sleep(seconds)
        await self.cancel()

    async def heard(self) -> list[float]:
        return list(self.beats)


CLOCK = Name(Clock, "clock", timeout=60)


def tree(mailbox: int = 1_000) -> object:
    return supervisor("app", child("c", Clock, name=CLOCK, mailbox=mailbox))


async def test_a_beat_that_comes_late_does_not_shift_those_after_it(autojump_clock: MockClock) -> None:
    async with open_runtime(tree()):
        await CLOCK.call(Clock.every, 2)
        await trio.sleep(3)
        autojump_clock.jump(
            4.5
        )  # The loop was blocked from 3 to 7.5: beats at 4 and 6 are missed, 6 comes late.
        await trio.sleep(5)
        assert await CLOCK.call(Clock.heard) == [2, 7.5, 8, 10, 12]


async def test_a_timer_that_was_cancelled_after_it_rang_is_not_heard(autojump_clock: MockClock) -> None:
    async with open_runtime(tree()):
        for way in (Clock.after, Clock.every):
            await CLOCK.call(way, 1)
            CLOCK.cast(Clock.block_and_cancel, 5)
            await trio.sleep(10)
        assert await CLOCK.call(Clock.heard) == []


async def test_a_beat_taken_back_makes_room_for_who_waits(autojump_clock: MockClock) -> None:
    async with open_runtime(tree(mailbox=1)):
        await CLOCK.call(Clock.every, 1)
        CLOCK.cast(Clock.block_and_cancel, 5)
        await trio.sleep(1.5)  # The beat fills the mailbox.
        with pytest.raises(MailboxFull):
            CLOCK.cast(Clock.beat)
        before = trio.current_time()
        assert await CLOCK.call(Clock.heard) == []
        assert trio.current_time() - before == pytest.approx(3.5)


async def test_a_full_mailbox_that_drops_the_oldest_keeps_what_timers_put_there(
    autojump_clock: MockClock,
) -> None:
    clock = child("c", Clock, name=CLOCK, mailbox=2, overflow=Overflow.DROP_OLDEST)
    async with open_runtime(supervisor("app", clock)):
        await CLOCK.call(Clock.after, 1)
        await CLOCK.call(Clock.every, 1)
        CLOCK.cast(Clock.block, 1.5)
        await trio.sleep(1.2)  # Both beats fill the mailbox.
        for _ in range(3):
            CLOCK.cast(Clock.block, 1)
        mailbox = CLOCK._find().mailbox
        assert ([message.method for message in mailbox.queue], mailbox.dropped) == (
            ["beat", "beat", "block"],
            2,
        )
        await trio.sleep(0.4)
        assert await CLOCK.call(Clock.heard) == [1.5, 1.5]


@pytest.mark.parametrize("seconds", [-1, 0, float("nan")])
async def test_a_period_must_be_positive(seconds: float) -> None:
    async with open_runtime(tree()) as runtime:
        clock = runtime.ref("app/c").instance
        assert isinstance(clock, Clock)
        with pytest.raises(ValueError, match=r"a timer needs at least 0\.001 seconds"):
            clock.context.every(seconds, Clock.beat)


async def test_after_no_time_at_all_comes_behind_what_waits(autojump_clock: MockClock) -> None:
    async with open_runtime(tree()):
        await CLOCK.call(Clock.after, 0)
        await wait_all_tasks_blocked()
        assert len(await CLOCK.call(Clock.heard)) == 1
