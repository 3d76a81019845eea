"""A runtime as a whole: dead letters, the way out, lookups, what an embedding program sees."""

from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    Actor,
    ActorStopped,
    CallTimeoutError,
    ExitReason,
    Killed,
    MailboxFull,
    Name,
    Normal,
    NotFoundError,
    Overflow,
    Shutdown,
    StartFailed,
    child,
    open_runtime,
    supervisor,
)


@attrs.define
class Box(Actor):
    stop_takes: float = 0.0

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep(self.stop_takes)

    async def nap(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def work(self) -> None:
        pass

    async def leave(self, reason: ExitReason) -> None:
        self.context.stop(reason)


BOX = Name(Box, "box")


def tree(**options: object) -> object:
    return supervisor("app", child("box", Box, name=BOX, **options))  # type: ignore[arg-type] # test helper


async def test_what_expires_while_it_waits_is_a_dead_letter(autojump_clock: MockClock) -> None:
    async with open_runtime(tree()) as runtime:
        BOX.cast(Box.nap, 10)
        with pytest.raises(CallTimeoutError):
            await BOX.within(3).call(Box.work)
        (letter,) = runtime.dead_letters
        assert (letter.actor, letter.message) == ("app/box", "work")
        assert letter.why == "its deadline passed while it waited"
        with pytest.raises(CallTimeoutError):
            await BOX.within(20).call(Box.nap, 30)  # It ran: no dead letter.
        assert runtime.dead_letter_count == 1


async def test_only_the_last_dead_letters_are_kept_but_all_are_counted() -> None:
    async with open_runtime(tree()) as runtime:
        ref = runtime.ref("app/box")
        await runtime.stop()
        for _ in range(250):
            ref.cast(Box.work)  # type: ignore[arg-type] # found by path, so untyped
        assert runtime.dead_letter_count == 250
        assert len(runtime.dead_letters) == 100


async def test_what_waits_in_a_mailbox_at_the_end_is_buried_and_its_callers_are_told() -> None:
    async with trio.open_nursery() as nursery:
        async with open_runtime(tree(shutdown=0.01)) as runtime:
            BOX.cast(Box.nap, 100)
            await wait_all_tasks_blocked()
            for _ in range(3):
                BOX.cast(Box.work)

            async def ask() -> None:
                with pytest.raises(ActorStopped):
                    await BOX.call(Box.work)

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
        assert [letter.why for letter in runtime.dead_letters] == ["the actor has stopped"] * 4


@pytest.mark.parametrize("overflow", [Overflow.REJECT, Overflow.DROP_NEWEST])
async def test_a_caller_without_room_is_told_at_once_and_counted(overflow: Overflow) -> None:
    async with open_runtime(tree(mailbox=1, overflow=overflow, shutdown=0)) as runtime:
        BOX.cast(Box.nap, 100)
        await wait_all_tasks_blocked()
        BOX.cast(Box.work)
        with pytest.raises(MailboxFull, match="full"):
            await BOX.call(Box.work)
        assert runtime.ref("app/box")._find().mailbox.statistics().dropped == 1


async def test_stopping_twice_and_at_once_is_stopping(autojump_clock: MockClock) -> None:
    stops = child("box", partial(Box, 3), name=BOX)
    async with open_runtime(supervisor("app", stops)) as runtime:
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.stop)
            nursery.start_soon(runtime.stop)
            await trio.sleep(1)
            nursery.start_soon(runtime.stop)
        await runtime.stop()
        assert trio.current_time() - before == pytest.approx(3)


async def test_an_abort_cuts_a_slow_stop_short(autojump_clock: MockClock) -> None:
    slow = child("box", partial(Box, 1_000), shutdown=5_000)
    async with trio.open_nursery() as nursery:
        async with open_runtime(supervisor("app", slow)) as runtime:
            nursery.start_soon(runtime.stop)
            await trio.sleep(1)
            runtime.abort()
            before = trio.current_time()
        assert trio.current_time() == before


async def test_an_abort_ends_a_start_that_hangs(autojump_clock: MockClock) -> None:
    class Hanging(Actor):
        async def on_start(self) -> None:
            self.context.cell.system.nursery.start_soon(self._abort)
            await trio.sleep_forever()

        async def _abort(self) -> None:
            self.context.cell.system.abort()

    with pytest.raises(StartFailed, match="killed: aborted"):
        async with open_runtime(supervisor("app", child("h", Hanging))):
            raise AssertionError("it must not start")
    assert trio.current_time() < 1_000_000


@pytest.mark.parametrize(
    ("reason", "gave_up"),
    [(Normal(), False), (Shutdown("work done"), False), (Killed("by hand"), True)],
)
async def test_a_root_that_ends_well_has_not_given_up(reason: ExitReason, gave_up: bool) -> None:
    async with open_runtime(child("box", Box, name=BOX)) as runtime:
        if isinstance(reason, Killed):
            runtime.ref("box")._find().kill("by hand")
        else:
            BOX.cast(Box.leave, reason)
        assert await runtime.wait() == reason
        assert runtime.gave_up is gave_up


async def test_places_are_found_by_path_and_a_wrong_path_says_so() -> None:
    async with open_runtime(supervisor("app", supervisor("shelf", child("box", Box)))) as runtime:
        assert runtime.ref("app").path == "app"
        assert runtime.ref("app/shelf/box").path == "app/shelf/box"
        for wrong in ("", "box", "app/box", "app/shelf/box/x", "other/shelf"):
            with pytest.raises(NotFoundError, match="in the tree below 'app'"):
                runtime.ref(wrong)


async def test_one_seed_gives_one_sequence_of_random_numbers() -> None:
    drawn: list[float] = []
    for _ in range(2):
        async with open_runtime(tree(), seed=7) as runtime:
            drawn.append(runtime.random.random())
    assert drawn[0] == drawn[1]


async def test_two_runtimes_in_one_program_do_not_see_each_others_names() -> None:
    async with open_runtime(tree()) as outer:
        async with open_runtime(supervisor("inner", child("other", Box))):
            with pytest.raises(NotFoundError):
                BOX.cast(Box.work)
        await BOX.call(Box.work)
        assert outer.ref("app/box").path == "app/box"
