"""The restart limit: one window for all children, giving up, escalating, cooling down."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    ONE_FOR_ALL,
    TEMPORARY,
    TRANSIENT,
    Actor,
    AutoShutdown,
    CoolDown,
    Name,
    Normal,
    Shutdown,
    Strategy,
    Supervisor,
    child,
    control,
    open_runtime,
    supervisor,
)
from tests.supervisors.players import (
    Journal,
    Plan,
    Player,
    Recorder,
    crash,
    generation,
    life,
    name,
    player,
    restarts,
)


async def crash_at(seconds: list[float], **options: object) -> bool:
    """Whether a supervisor lives through crashes at these moments."""
    async with open_runtime(supervisor("app", player("a", []), **options)) as runtime:  # type: ignore[arg-type] # test helper
        start = trio.current_time()
        for moment in seconds:
            await trio.sleep_until(start + moment)
            if life(runtime, "app") == "running":
                crash("a")
            await wait_all_tasks_blocked()
        return life(runtime, "app") == "running"


@pytest.mark.parametrize(
    ("seconds", "lives"),
    [
        ([0, 1, 2], True),
        ([0, 1, 2, 3], False),
        ([0, 1, 2, 5], False),  # Exactly one period old still counts.
        ([0, 1, 2, 5.1], True),
        ([0, 1, 2, 5.5, 6.5, 7.5, 11, 12, 13], True),
        ([0, 1, 2, 5.5, 5.6], False),
    ],
)
async def test_three_in_five_seconds_is_the_limit(
    seconds: list[float], lives: bool, autojump_clock: MockClock
) -> None:
    assert await crash_at(seconds) is lives


async def test_an_intensity_of_zero_tolerates_none(autojump_clock: MockClock) -> None:
    assert await crash_at([0], intensity=0) is False


async def test_all_children_share_one_window_and_requests_cost_nothing() -> None:
    root = Name(Supervisor, "root")
    family = [player(id, []) for id in "abcd"]
    async with open_runtime(supervisor("app", *family, name=root, intensity=3)) as runtime:
        for _ in range(5):
            await root.call(Supervisor.terminate_child, "a")
            await root.call(Supervisor.restart_child, "a")
            await root.call(Supervisor.cycle_child, "b")
        crash("a", "b", "c")
        await wait_all_tasks_blocked()
        assert life(runtime, "app") == "running"
        crash("d")
        await wait_all_tasks_blocked()
        assert life(runtime, "app") == "stopped"


async def test_giving_up_stops_the_others_in_reverse_and_is_said_once() -> None:
    journal: Journal = []
    shelf = supervisor("shelf", *(player(id, journal) for id in "abcde"), intensity=1, restart=TRANSIENT)
    async with open_runtime(supervisor("app", shelf)) as runtime:
        seen = Recorder(runtime)
        journal.clear()
        crash("b", "c", "d")  # All at once: the second is one too many, the third must not be counted again.
        await wait_all_tasks_blocked()
        assert [(event.actor, event.child, event.pause) for event in seen.limits] == [
            ("app/shelf", seen.limits[0].child, None)
        ]
        assert seen.exits["app/shelf"] == [Shutdown("reached max restart intensity")]
        stopped = [entry for entry in journal if entry in ("-a", "-e")]
        assert stopped == ["-e", "-a"]
        # Giving up is a clean end: a transient supervisor that burnt out stays down.
        assert life(runtime, "app/shelf") == "stopped"
        assert life(runtime, "app") == "running"


async def test_children_lost_before_it_gave_up_are_no_concern_of_a_supervisor_that_leaves() -> None:
    """Both ends wait in its control lane when the first is one too many."""
    family = [player(id, []) for id in "ab"]
    tree = supervisor("app", *family, strategy=ONE_FOR_ALL, intensity=0)
    async with open_runtime(tree) as runtime:
        seen = Recorder(runtime)
        crash("a", "b")
        await runtime.wait()
    assert len(seen.limits) == 1


async def test_a_permanent_supervisor_that_gave_up_is_restarted_and_its_own_supervisor_counts_it() -> None:
    inner = supervisor("inner", player("a", []), intensity=0)
    middle = supervisor("middle", inner, player("x", []), intensity=1)
    async with open_runtime(supervisor("app", middle, player("y", []), intensity=1)) as runtime:
        crash("a")
        await wait_all_tasks_blocked()
        assert (generation(runtime, "app/middle/inner"), generation(runtime, "app/middle")) == (2, 1)
        crash("a")
        await wait_all_tasks_blocked()
        assert (generation(runtime, "app/middle"), generation(runtime, "app")) == (2, 1)
        assert (generation(runtime, "app/y"), generation(runtime, "app/middle/x")) == (1, 2)


async def test_a_crash_loop_climbs_to_the_root_which_gives_up() -> None:
    plan = Plan()
    inner = supervisor("inner", player("a", [], plan))
    async with open_runtime(supervisor("app", inner)) as runtime:
        plan.failing_starts = 1_000
        crash("a")
        assert await runtime.wait() == Shutdown("reached max restart intensity")
        assert runtime.gave_up


# Cooling down.

COOL = CoolDown()


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_supervisor_that_cools_down_pauses_twice_as_long_each_time_up_to_a_minute_and_stays(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    plan = Plan()
    tree = supervisor("app", player("x", []), player("a", [], plan), on_limit=COOL, strategy=strategy)
    async with open_runtime(tree) as runtime:
        seen = Recorder(runtime)
        plan.failing_starts = 10**9
        crash("a")
        await trio.sleep(400)
        assert [event.pause for event in seen.limits] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
        assert life(runtime, "app") == "running"
        assert life(runtime, "app/x") == "running"
        plan.failing_starts = 0
        await trio.sleep(61)
        assert life(runtime, "app/a") == "running"
        await name("a").call(Player.note, "healed")
        assert generation(runtime, "app") == 1


async def test_after_a_quiet_time_the_pauses_begin_anew(autojump_clock: MockClock) -> None:
    async with open_runtime(
        supervisor("app", player("a", []), on_limit=COOL, intensity=0), seed=1
    ) as runtime:
        seen = Recorder(runtime)
        for quiet in (0, 10, 100):
            await trio.sleep(quiet)
            crash("a")
            await trio.sleep(70)
        assert [event.pause for event in seen.limits] == [1, 1, 1]
        crash("a")
        await trio.sleep(2)
        crash("a")
        await trio.sleep(5)
        assert [event.pause for event in seen.limits] == [1, 1, 1, 1, 2]


async def test_neighbours_of_a_child_that_cools_down_work_and_are_restarted(
    autojump_clock: MockClock,
) -> None:
    plan = Plan()
    root = Name(Supervisor, "root")
    tree = supervisor("app", player("x", []), player("a", [], plan), on_limit=CoolDown(10), name=root)
    async with open_runtime(tree) as runtime:
        plan.failing_starts = 10**9
        crash("a")
        await trio.sleep(1)
        assert life(runtime, "app/a") == "restarting"
        crash("x")
        await wait_all_tasks_blocked()
        assert (life(runtime, "app/x"), restarts(runtime, "app/x")) == ("running", 1)
        assert (await root.call(Supervisor.count_children)).active == 1


async def test_a_stop_cuts_a_pause_short(autojump_clock: MockClock) -> None:
    async with open_runtime(
        supervisor("app", player("a", []), on_limit=CoolDown(50), intensity=0)
    ) as runtime:
        crash("a")
        await trio.sleep(1)
        assert life(runtime, "app/a") == "restarting"
        before = trio.current_time()
    assert trio.current_time() == before


async def test_a_pause_that_was_overtaken_restarts_nobody_twice(autojump_clock: MockClock) -> None:
    journal: Journal = []
    root = Name(Supervisor, "root")
    tree = supervisor(
        "app", player("a", journal), on_limit=CoolDown(10), intensity=0, name=root, strategy=ONE_FOR_ALL
    )
    async with open_runtime(tree) as runtime:
        crash("a")
        await trio.sleep(1)
        await root.call(Supervisor.cycle_child, "a")  # An operator does not want to wait.
        assert life(runtime, "app/a") == "running"
        await trio.sleep(30)
        assert generation(runtime, "app/a") == 2
        assert journal.count("+a") == 2


async def test_a_pause_that_was_overtaken_does_not_cut_the_next_one_short(autojump_clock: MockClock) -> None:
    root = Name(Supervisor, "root")
    tree = supervisor("app", player("a", []), on_limit=CoolDown(10), intensity=0, name=root)
    async with open_runtime(tree) as runtime:
        crash("a")  # Until 10.
        await trio.sleep(1)
        await root.call(Supervisor.cycle_child, "a")
        crash("a")  # Until 21.
        await trio.sleep(19)
        assert life(runtime, "app/a") == "restarting"
        await trio.sleep(2)
        assert life(runtime, "app/a") == "running"


async def test_an_end_that_waited_while_its_supervisor_was_suspended_still_ends_it() -> None:
    root = Name(Supervisor, "root")
    last = child("last", Actor, restart=TEMPORARY, significant=True)
    shelf = supervisor(
        "shelf", last, name=root, restart=TRANSIENT, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT
    )
    async with open_runtime(supervisor("app", shelf)) as runtime:
        await control(root).suspend()
        runtime.ref("app/shelf/last")._find().leave(Normal())
        await wait_all_tasks_blocked()
        assert life(runtime, "app/shelf") == "running"
        await control(root).resume()
        await wait_all_tasks_blocked()
        assert life(runtime, "app/shelf") == "stopped"
        assert life(runtime, "app/shelf/last") == "gone"  # A temporary one is forgotten.
