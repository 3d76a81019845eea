"""Children that come and go while the tree runs: OTP's statements 38 and 45 to 49."""

import gc
import sys
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    BRUTAL_KILL,
    TEMPORARY,
    TRANSIENT,
    Actor,
    ChildCounts,
    ChildError,
    ChildNotFound,
    ChildStartFailed,
    DynamicSupervisor,
    Name,
    Normal,
    TooManyChildren,
    child,
    dynamic_supervisor,
    open_runtime,
    supervisor,
)
from resprout.runtime.cell import Cell
from tests.supervisors.players import (
    Journal,
    Plan,
    Player,
    Recorder,
    crash,
    finish,
    generation,
    life,
    name,
    player,
)

ROOMS = Name(DynamicSupervisor, "rooms")
START, END = DynamicSupervisor.start_child, DynamicSupervisor.terminate_child


def rooms(**options: object) -> object:
    return supervisor("app", dynamic_supervisor("rooms", name=ROOMS, **options))  # type: ignore[arg-type] # test helper


async def test_it_starts_empty_and_restarts_each_child_by_itself() -> None:
    journal: Journal = []
    async with open_runtime(rooms()) as runtime:
        assert runtime.snapshot().children[0].children == ()
        for id in "abc":
            assert await ROOMS.call(START, player(id, journal)) == f"app/rooms/{id}"
        journal.clear()
        crash("b")
        await wait_all_tasks_blocked()
        assert journal == ["?b", "-b", "+b"]


async def test_no_more_than_max_children_may_live_and_restarting_ones_count(
    autojump_clock: MockClock,
) -> None:
    plan = Plan()
    async with open_runtime(rooms(max_children=2)) as runtime:
        await ROOMS.call(START, player("a", [], plan))
        await ROOMS.call(START, player("b", [], restart=TEMPORARY))
        plan.start_takes = 10
        crash("a")
        with pytest.raises(TooManyChildren, match="app/rooms has its 2 children"):
            await ROOMS.call(START, player("c", []))
        finish("b")
        await wait_all_tasks_blocked()
        await ROOMS.call(START, player("c", []))
        assert [place.id for place in runtime.snapshot().children[0].children] == ["a", "c"]


async def test_whoever_ended_for_good_is_forgotten() -> None:
    async with open_runtime(rooms(max_children=3)) as runtime:
        for id, restart in (("done", TRANSIENT), ("gone", TEMPORARY), ("told", TRANSIENT)):
            await ROOMS.call(START, player(id, [], restart=restart))
        finish("done")
        crash("gone")
        await ROOMS.call(END, "told")
        await wait_all_tasks_blocked()
        assert await ROOMS.call(DynamicSupervisor.count_children) == ChildCounts(0, 0, 0, 0)
        assert runtime.snapshot().children[0].children == ()
        for id in ("done", "gone", "told"):
            with pytest.raises(ChildNotFound):
                await ROOMS.call(END, id)
            await ROOMS.call(START, player(id, []))  # Id and name are free again.


async def test_a_start_that_fails_leaves_nothing_and_frees_its_room() -> None:
    async with open_runtime(rooms(max_children=1)):
        with pytest.raises(ChildStartFailed):
            await ROOMS.call(START, player("a", [], Plan(failing_starts=1)))
        await ROOMS.call(START, player("a", []))


async def test_a_requested_restart_that_fails_frees_the_room_too() -> None:
    plan = Plan()
    async with open_runtime(rooms(max_children=1)):
        await ROOMS.call(START, player("a", [], plan))
        plan.failing_starts = 1
        with pytest.raises(ChildStartFailed):
            await ROOMS.call(DynamicSupervisor.cycle_child, "a")
        await ROOMS.call(START, player("b", []))


async def test_all_stop_at_once_each_within_its_own_time_so_the_longest_counts_and_not_the_sum(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    async with open_runtime(rooms()) as runtime:
        seen = Recorder(runtime)
        for number in range(50):
            await ROOMS.call(START, player(str(number), journal, Plan(stop_takes=2 + number % 3)))
        await ROOMS.call(START, player("late", journal, Plan(stop_takes=100), shutdown=7))
        await ROOMS.call(START, player("brutal", journal, Plan(stop_takes=100), shutdown=BRUTAL_KILL))
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(7)
    assert sum(entry.startswith("-") for entry in journal) == 50
    assert "?brutal" not in journal
    kinds = {path.rpartition("/")[2]: type(reasons[-1]).__name__ for path, reasons in seen.exits.items()}
    assert (kinds["0"], kinds["late"], kinds["brutal"]) == ("Shutdown", "Killed", "Killed")


async def test_a_new_incarnation_starts_empty() -> None:
    async with open_runtime(rooms(intensity=0)) as runtime:
        await ROOMS.call(START, player("a", []))
        ref = name("a")
        crash("a")
        await wait_all_tasks_blocked()
        assert generation(runtime, "app/rooms") == 2
        assert runtime.snapshot().children[0].children == ()
        with pytest.raises(LookupError):
            await ref.call(Player.recall)
        await ROOMS.call(START, player("a", []))


async def test_children_that_have_gone_leave_no_memory_behind() -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, Player | Cell) for thing in gc.get_objects())

    async with open_runtime(rooms()):
        before = alive()
        for number in range(200):
            id = f"room {number}"
            await ROOMS.call(START, child(id, lambda: Player([]), restart=TEMPORARY, name=name(id)))
            finish(id, Normal())
        await wait_all_tasks_blocked()
        assert alive() - before < 10


async def test_the_arguments_of_a_temporary_child_do_not_live_as_long_as_it_does() -> None:
    class Letter:
        """Long, and read once."""

    @attrs.define
    class Reader(Actor):
        letter: Letter | None

        async def on_start(self) -> None:
            self.letter = None

    def kept() -> bool:
        gc.collect()
        return any(type(thing) is Letter for thing in gc.get_objects())

    async with open_runtime(rooms()) as runtime:
        await ROOMS.call(START, child("brief", partial(Reader, Letter()), restart=TEMPORARY))
        await ROOMS.call(DynamicSupervisor.which_children)  # It has put the request away by then.
        assert life(runtime, "app/rooms/brief") == "running"
        assert not kept()
        with pytest.raises(ChildError, match="not started twice; terminate it, and start another"):
            await ROOMS.call(DynamicSupervisor.cycle_child, "brief")
        await ROOMS.call(START, child("lasting", partial(Reader, Letter())))
        await wait_all_tasks_blocked()
        assert kept()  # To be restarted with.


async def test_adding_and_removing_takes_as_many_steps_with_ten_thousand_children_as_with_ten() -> None:
    async def add_and_remove() -> None:
        for id in "xy":
            await ROOMS.call(START, child(id, Actor, restart=TEMPORARY))
        await ROOMS.call(END, "x")
        ROOMS._find().children["y"].leave(Normal())  # By itself.
        await wait_all_tasks_blocked()

    def fill(count: int) -> None:
        """Places in which nobody runs: as long to walk over, and faster made."""
        rooms = ROOMS.instance
        assert isinstance(rooms, DynamicSupervisor)
        for number in range(count):
            spec = rooms._specs[str(number)] = child(str(number), Actor)
            ROOMS._find().add_child(spec, rooms)

    async def steps() -> int:
        count = 0

        def step(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(step)
        try:
            await add_and_remove()
        finally:
            sys.setprofile(None)
        return count

    async with open_runtime(rooms()):
        await add_and_remove()
        few = await steps()
        fill(10_000)
        many = await steps()
        assert (await ROOMS.call(DynamicSupervisor.count_children)).specs == 10_000
    assert many < few * 1.2
