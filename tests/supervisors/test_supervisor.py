"""Starting, restarting, groups, stopping: OTP's statements 1 to 39, on virtual time."""

import math

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    BRUTAL_KILL,
    INFINITY,
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    Actor,
    ActorCrashed,
    ActorExited,
    ActorRestarting,
    ActorStopped,
    AutoShutdown,
    Backoff,
    Crashed,
    ExitReason,
    Killed,
    Name,
    Normal,
    Shutdown,
    StartFailed,
    Strategy,
    Supervisor,
    child,
    open_runtime,
    supervisor,
)
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
    restarts,
)

# Starting.


async def test_children_start_one_by_one_and_the_tree_is_up_only_after_the_last(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    slow = [player(id, journal, Plan(start_takes=seconds)) for id, seconds in (("a", 3), ("b", 2), ("c", 1))]
    before = trio.current_time()
    async with open_runtime(supervisor("app", *slow)):
        assert trio.current_time() - before == pytest.approx(6)
        assert journal == ["+a", "+b", "+c"]


async def test_a_supervisor_may_take_as_long_to_start_as_its_children_take_together(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    slow = [player(id, journal, Plan(start_takes=20)) for id in "abc"]
    async with open_runtime(supervisor("app", supervisor("shelf", *slow))):
        assert journal == ["+a", "+b", "+c"]


async def test_a_failed_first_start_rolls_back_in_reverse_and_is_not_tried_again() -> None:
    journal: Journal = []
    shelf = supervisor(
        "shelf",
        player("b", journal),
        player("c", journal),
        player("d", journal, Plan(failing_starts=1)),
        player("e", journal),
    )
    with pytest.raises(StartFailed, match=r"app/shelf/d did not start.*d cannot start"):
        async with open_runtime(supervisor("app", player("a", journal), shelf)):
            raise AssertionError("it must not start")
    assert journal == ["+a", "+b", "+c", "d failed", "?c", "-c", "?b", "-b", "?a", "-a"]


async def test_a_child_that_crashes_while_later_ones_start_is_restarted_once_all_are_up(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []

    class Hasty(Player):
        async def on_start(self) -> None:
            self.journal.append("+hasty")
            if self.journal.count("+hasty") == 1:
                self.context.after(1, Player.crash)

    hasty = child("hasty", lambda: Hasty(journal))
    async with open_runtime(
        supervisor("app", hasty, player("slow", journal, Plan(start_takes=5)))
    ) as runtime:
        await wait_all_tasks_blocked()
        assert journal == ["+hasty", "?hasty", "-hasty", "+slow", "+hasty"]
        assert restarts(runtime, "app/hasty") == 1


# What an end means.


@pytest.mark.parametrize("reason", [Normal(), Shutdown(), Shutdown("enough"), Killed(), Crashed(OSError())])
async def test_a_permanent_child_comes_back_whatever_its_end(reason: ExitReason) -> None:
    journal: Journal = []
    async with open_runtime(supervisor("app", player("a", journal))) as runtime:
        finish("a", reason)
        await wait_all_tasks_blocked()
        assert journal == ["+a", "?a", "-a", "+a"] or isinstance(reason, Killed)
        assert life(runtime, "app/a") == "running"
        assert restarts(runtime, "app/a") == 1


@pytest.mark.parametrize("reason", [Normal(), Shutdown(), Shutdown("enough")])
async def test_a_transient_child_that_ended_well_stays_down_and_its_place_is_kept(reason: ExitReason) -> None:
    async with open_runtime(supervisor("app", player("a", [], restart=TRANSIENT))) as runtime:
        ref = runtime.ref("app/a")
        finish("a", reason)
        await wait_all_tasks_blocked()
        assert life(runtime, "app/a") == "stopped"
        with pytest.raises(ActorStopped):
            await ref.call(Player.recall)  # type: ignore[arg-type] # found by path, so untyped


async def test_a_transient_child_comes_back_after_a_crash_and_after_a_kill() -> None:
    async with open_runtime(supervisor("app", player("a", [], restart=TRANSIENT))) as runtime:
        crash("a")
        await wait_all_tasks_blocked()
        runtime.ref("app/a")._find().kill()
        await wait_all_tasks_blocked()
        assert (life(runtime, "app/a"), restarts(runtime, "app/a")) == ("running", 2)


async def test_a_temporary_child_is_gone_at_once_and_its_crash_costs_nothing() -> None:
    journal: Journal = []
    temps = [player(str(number), journal, restart=TEMPORARY) for number in range(5)]
    async with open_runtime(supervisor("app", *temps, player("a", journal), intensity=0)) as runtime:
        seen = Recorder(runtime)
        crash("0", "1", "2", "3", "4")
        await wait_all_tasks_blocked()
        assert [place.id for place in runtime.snapshot().children] == ["a"]
        assert all(isinstance(seen.exits[f"app/{number}"][0], Crashed) for number in range(5))
        assert life(runtime, "app/a") == "running"


async def test_an_unknown_message_does_not_hurt_a_supervisor() -> None:
    root = Name(Supervisor, "root")
    async with open_runtime(supervisor("app", player("a", []), name=root)) as runtime:
        root.cast(Player.crash)  # type: ignore[arg-type] # wrong on purpose
        await wait_all_tasks_blocked()
        assert generation(runtime, "app") == 1


# Strategies.


async def three(strategy: Strategy, failing: str) -> Journal:
    journal: Journal = []
    async with open_runtime(supervisor("app", *(player(id, journal) for id in "abc"), strategy=strategy)):
        journal.clear()
        crash(failing)
        await wait_all_tasks_blocked()
        return list(journal)


async def test_one_for_one_restarts_only_the_one_that_crashed() -> None:
    assert await three(ONE_FOR_ONE, "b") == ["?b", "-b", "+b"]


async def test_one_for_all_stops_all_others_in_reverse_and_starts_all_in_order() -> None:
    assert await three(ONE_FOR_ALL, "b") == ["?b", "-b", "?c", "-c", "?a", "-a", "+a", "+b", "+c"]


async def test_rest_for_one_takes_those_that_started_later() -> None:
    assert await three(REST_FOR_ONE, "b") == ["?b", "-b", "?c", "-c", "+b", "+c"]


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, REST_FOR_ONE])
async def test_each_one_is_dead_before_the_next_is_asked(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    journal: Journal = []
    slow = [player(id, journal, Plan(stop_takes=2)) for id in "bcd"]
    async with open_runtime(supervisor("app", player("a", journal), *slow, strategy=strategy)):
        journal.clear()
        crash("a")
        await trio.sleep(10)
        assert journal == ["?a", "-a", "?d", "-d", "?c", "-c", "?b", "-b", "+a", "+b", "+c", "+d"]
        journal.clear()
    assert journal == ["?d", "-d", "?c", "-c", "?b", "-b", "?a", "-a"]


async def test_a_group_restart_also_starts_those_that_were_stopped() -> None:
    journal: Journal = []
    root = Name(Supervisor, "root")
    tree = supervisor(
        "app",
        player("a", journal),
        player("done", journal, restart=TRANSIENT),
        player("ordered", journal),
        strategy=ONE_FOR_ALL,
        name=root,
    )
    async with open_runtime(tree):
        finish("done")
        await root.call(Supervisor.terminate_child, "ordered")
        journal.clear()
        crash("a")
        await wait_all_tasks_blocked()
        assert journal == ["?a", "-a", "+a", "+done", "+ordered"]


async def test_temporary_siblings_fall_with_their_group_and_do_not_come_back() -> None:
    journal: Journal = []
    tree = supervisor(
        "app",
        player("a", journal),
        player("t", journal, restart=TEMPORARY),
        player("c", journal),
        strategy=ONE_FOR_ALL,
    )
    async with open_runtime(tree) as runtime:
        journal.clear()
        crash("a")
        await wait_all_tasks_blocked()
        assert journal == ["?a", "-a", "?c", "-c", "?t", "-t", "+a", "+c"]
        assert life(runtime, "app/t") == "gone"


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, REST_FOR_ONE])
async def test_a_group_restart_costs_one_however_many_crashed_together(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    journal: Journal = []
    # The first of them ends first: had a later one ended before it, rest_for_one would restart twice, as in OTP.
    family = [player(id, journal, Plan(stop_takes=0 if id == "a" else 0.1)) for id in "abcdef"]
    async with open_runtime(supervisor("app", *family, strategy=strategy, intensity=1)) as runtime:
        crash(*"abcdef")
        await trio.sleep(1)
        assert generation(runtime, "app") == 1
        assert [generation(runtime, f"app/{id}") for id in "abcdef"] == [2] * 6
        crash("a")
        await trio.sleep(1)
        assert life(runtime, "app") == "stopped"


async def test_all_that_crashed_before_the_supervisor_looks_are_one_restart() -> None:
    async with open_runtime(
        supervisor("app", *(player(id, []) for id in "abcdef"), strategy=ONE_FOR_ALL, intensity=1)
    ) as runtime:
        crash(*"abcdef")
        await wait_all_tasks_blocked()
        assert [generation(runtime, f"app/{id}") for id in "abcdef"] == [2] * 6


async def test_a_sibling_that_crashes_while_its_group_stops_is_not_counted_and_not_restarted_twice(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    tree = supervisor(
        "app",
        player("a", journal),
        player("b", journal),
        player("c", journal, Plan(stop_takes=3)),
        strategy=ONE_FOR_ALL,
        intensity=1,
    )
    async with open_runtime(tree) as runtime:
        crash("a")
        await trio.sleep(1)
        crash("b")  # While c takes its time to stop.
        await trio.sleep(10)
        assert [generation(runtime, f"app/{id}") for id in "abc"] == [2, 2, 2]
        assert journal.count("+b") == 2


@pytest.mark.parametrize("reason", [Normal(), Crashed(OSError())])
async def test_a_sibling_that_ends_for_good_while_its_group_stops_does_not_upset_the_restart(
    reason: ExitReason, autojump_clock: MockClock
) -> None:
    tree = supervisor(
        "app",
        player("a", []),
        player("t", [], restart=TEMPORARY, significant=True),
        player("c", [], Plan(stop_takes=3)),
        strategy=ONE_FOR_ALL,
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    async with open_runtime(tree) as runtime:
        crash("a")
        await trio.sleep(1)
        finish("t", reason)  # While c takes its time to stop.
        await trio.sleep(10)
        assert [life(runtime, f"app/{id}") for id in "atc"] == ["running", "gone", "running"]
        assert generation(runtime, "app") == 1


async def test_a_restarted_supervisor_brings_back_its_first_children_only_in_their_first_order() -> None:
    journal: Journal = []
    shelf = Name(Supervisor, "shelf")
    spec = supervisor(
        "shelf",
        player("a", journal, restart=TEMPORARY),
        player("b", journal),
        player("c", journal),
        name=shelf,
        intensity=0,
    )
    async with open_runtime(supervisor("app", spec)) as runtime:
        crash("a")
        await shelf.call(Supervisor.start_child, player("added", journal))
        await shelf.call(Supervisor.terminate_child, "c")
        await shelf.call(Supervisor.delete_child, "c")
        await shelf.call(Supervisor.start_child, child("c", lambda: Player(["not the c of the tree"])))
        journal.clear()
        crash("b")
        await wait_all_tasks_blocked()
        assert journal[-3:] == ["+a", "+b", "+c"]
        assert [place.id for place in runtime.snapshot().children[0].children] == ["a", "b", "c"]
        journal.clear()
    assert journal == ["?c", "-c", "?b", "-b", "?a", "-a"]


async def test_refs_and_waiting_mail_survive_the_restart_of_their_supervisor(
    autojump_clock: MockClock,
) -> None:
    slow = Plan()
    shelf = supervisor("shelf", player("a", [], slow), player("b", []), intensity=0)
    async with open_runtime(supervisor("app", shelf)) as runtime:
        ref = runtime.ref("app/shelf/a")
        slow.start_takes = 2
        crash("b")
        await wait_all_tasks_blocked()
        ref.cast(Player.note, "while it was down")  # type: ignore[arg-type] # found by path, so untyped
        assert await ref.call(Player.recall) == ["while it was down"]  # type: ignore[arg-type] # the same
        assert generation(runtime, "app/shelf") == 2


# Starts that fail during a restart.


async def test_a_failing_restart_is_retried_and_counted_until_the_limit() -> None:
    journal: Journal = []
    plan = Plan()
    async with open_runtime(supervisor("app", player("a", journal, plan), intensity=4)) as runtime:
        plan.failing_starts = 3
        crash("a")
        await wait_all_tasks_blocked()
        assert journal == ["+a", "?a", "-a", "a failed", "a failed", "a failed", "+a"]
        assert life(runtime, "app") == "running"


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_start_that_always_fails_ends_at_the_limit_and_never_in_a_raise(strategy: Strategy) -> None:
    journal: Journal = []
    plan = Plan()
    tree = supervisor("app", player("b", journal), player("a", journal, plan), strategy=strategy, intensity=4)
    async with open_runtime(tree) as runtime:
        plan.failing_starts = 99
        crash("a")
        await runtime.wait()
        assert journal.count("a failed") == 4  # One restart for the crash, one for each of three failures.
        assert runtime.gave_up
        assert str(runtime.snapshot().last_exit) == "shutdown: reached max restart intensity"


async def test_rest_for_one_retries_from_the_one_that_failed_and_keeps_what_is_up() -> None:
    journal: Journal = []
    plan = Plan()
    family = [player("a", journal), player("b", journal), player("c", journal, plan), player("d", journal)]
    async with open_runtime(supervisor("app", *family, strategy=REST_FOR_ONE, intensity=5)):
        plan.failing_starts = 2
        journal.clear()
        crash("a")
        await wait_all_tasks_blocked()
        assert journal[-6:] == ["+a", "+b", "c failed", "c failed", "+c", "+d"]


async def test_one_for_all_redoes_the_whole_group_when_a_start_fails() -> None:
    journal: Journal = []
    plan = Plan()
    family = [player("a", journal), player("b", journal, plan), player("c", journal)]
    async with open_runtime(supervisor("app", *family, strategy=ONE_FOR_ALL, intensity=5)):
        plan.failing_starts = 1
        journal.clear()
        crash("c")
        await wait_all_tasks_blocked()
        after = journal[journal.index("b failed") + 1 :]
        assert after == ["?a", "-a", "+a", "+b", "+c"]


@pytest.mark.parametrize("strategy", [REST_FOR_ONE, ONE_FOR_ALL])
async def test_whoever_is_down_with_a_group_whose_restart_failed_waits_for_it(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    journal: Journal = []
    plan = Plan()
    family = [
        player("a", journal, plan, backoff=Backoff(2.0, 2.0, 2.0)),
        player("b", journal, backoff=Backoff(0.5, 0.5, 0.5)),
    ]
    async with open_runtime(supervisor("app", *family, strategy=strategy, intensity=5)):
        crash("a")
        await trio.sleep(1.8)
        crash(
            "b"
        )  # Its own delay would end after the others have been tried, and before they are tried again.
        plan.failing_starts = 1
        await trio.sleep(0.3)
        journal.clear()
        await trio.sleep(1.8)
        assert journal == []
        await trio.sleep(0.2)
        assert journal == ["+a", "+b"]


async def test_a_group_that_ended_together_is_counted_once_even_if_its_first_start_fails(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    plan = Plan()
    family = [player("a", journal, plan), player("b", journal)]
    async with open_runtime(supervisor("app", *family, strategy=ONE_FOR_ALL, intensity=2)) as runtime:
        plan.failing_starts = 1
        journal.clear()
        crash("a", "b")
        await trio.sleep(0.1)
        assert not runtime.gave_up  # One restart for the crashes, one for the start that failed.
        assert journal[-3:] == ["a failed", "+a", "+b"]


async def test_a_stop_is_obeyed_between_the_retries(autojump_clock: MockClock) -> None:
    plan = Plan()
    family = [player("a", []), player("b", [], plan)]
    async with open_runtime(
        supervisor("app", *family, strategy=ONE_FOR_ALL, intensity=10_000, period=10_000.0)
    ):
        plan.failing_starts, plan.start_takes = 10_000, 1
        crash("a")
        await trio.sleep(20.5)
        before = trio.current_time()
    assert trio.current_time() - before < 1
    assert plan.failing_starts > 9_900


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_stop_does_not_wait_for_a_start_that_hangs(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    plan = Plan()
    async with open_runtime(supervisor("app", player("a", []), player("b", [], plan), strategy=strategy)):
        plan.start_takes = math.inf
        crash("b")
        await trio.sleep(1)
        before = trio.current_time()
    assert trio.current_time() == before


# Restart backoff.


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_restarts_with_a_backoff_wait_longer_each_time_and_are_reset_by_a_good_run(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    journal: Journal = []
    steady = Backoff(floor=2, base=2, cap=2)
    async with open_runtime(
        supervisor("app", player("x", []), player("a", journal, backoff=steady), strategy=strategy), seed=1
    ) as runtime:
        for _ in range(2):
            crash("a")
            await trio.sleep(1.9)
            assert life(runtime, "app/a") == "restarting"
            assert life(runtime, "app/x") == "running"
            await trio.sleep(0.2)
            assert life(runtime, "app/a") == "running"
            await trio.sleep(3)


async def test_a_run_longer_than_the_cap_resets_the_backoff(autojump_clock: MockClock) -> None:
    growing = Backoff(floor=1, base=1, cap=100, max_exponent=10)
    starts: list[float] = []

    class Clocked(Player):
        async def on_start(self) -> None:
            starts.append(trio.current_time())

    clocked: Name[Player] = Name(Player, "clocked")
    spec = child("a", lambda: Clocked([]), name=clocked, backoff=growing)

    async def delay_after(seconds: float) -> float:
        await trio.sleep(seconds)
        crashed_at = trio.current_time()
        clocked.cast(Player.crash)
        await clocked.within(math.inf).call(Player.recall)
        return starts[-1] - crashed_at

    async with open_runtime(supervisor("app", spec, intensity=100), seed=3):
        grown = [await delay_after(1) for _ in range(12)]
        assert max(grown) > 10
        assert await delay_after(101) == pytest.approx(1)


async def test_time_spent_in_a_failing_start_is_not_a_good_run(autojump_clock: MockClock) -> None:
    plan = Plan()
    steps: list[float] = []
    backoff = Backoff(floor=0.1, base=0.1, cap=1.0)
    async with open_runtime(
        supervisor("app", player("a", [], plan, backoff=backoff), intensity=1_000), seed=5
    ) as runtime:
        runtime.events.subscribe(lambda event: steps.append(getattr(event, "delay", 0.0)))
        plan.start_takes, plan.failing_starts = 5, 30
        crash("a")
        await trio.sleep(300)
        assert max(steps) > 0.2  # It grew although each start took longer than the cap.


async def test_the_time_after_which_a_run_is_good_can_be_given(autojump_clock: MockClock) -> None:
    delays: list[float] = []
    spec = player("a", [], backoff=Backoff(floor=1, base=1, cap=1_000), reset_after=10)
    async with open_runtime(supervisor("app", spec, intensity=100), seed=3) as runtime:
        runtime.events.subscribe(
            lambda event: delays.append(event.delay) if isinstance(event, ActorRestarting) else None
        )
        for _ in range(10):
            crash("a")
            await trio.sleep(9)  # Of which it runs less.
            while life(runtime, "app/a") != "running":
                await trio.sleep(9)
        assert max(delays) > 10
        await trio.sleep(11)
        crash("a")
        await trio.sleep(1)
        assert delays[-1] == 1


async def test_each_restart_with_a_backoff_costs_one_of_the_intensity(autojump_clock: MockClock) -> None:
    spec = player("a", [], backoff=Backoff(floor=1, base=1, cap=1))
    async with open_runtime(supervisor("app", spec, intensity=3, period=100.0)) as runtime:
        for _ in range(3):
            crash("a")
            await trio.sleep(2)
            assert life(runtime, "app/a") == "running"
        crash("a")
        await trio.sleep(2)
        assert runtime.gave_up


# Stopping.


async def test_shutdown_zero_asks_and_kills_at_once(autojump_clock: MockClock) -> None:
    journal: Journal = []
    async with open_runtime(
        supervisor("app", player("a", journal, Plan(stop_takes=5), shutdown=0))
    ) as runtime:
        seen = Recorder(runtime)
        before = trio.current_time()
    assert trio.current_time() == before
    assert "-a" not in journal
    assert isinstance(seen.exits["app/a"][0], Killed)


async def test_infinity_waits_for_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    journal: Journal = []
    async with open_runtime(
        supervisor("app", player("a", journal, Plan(stop_takes=86_400), shutdown=INFINITY))
    ):
        pass
    assert journal[-1] == "-a"


async def test_a_brutal_kill_of_a_supervisor_takes_all_below_at_once(autojump_clock: MockClock) -> None:
    journal: Journal = []
    shelf = supervisor("shelf", player("a", journal), player("b", journal), shutdown=BRUTAL_KILL)
    async with open_runtime(supervisor("app", shelf)) as runtime:
        seen = Recorder(runtime)
    assert journal == ["+a", "+b"]
    assert isinstance(seen.exits["app/shelf"][0], Killed)
    assert isinstance(seen.exits["app/shelf/a"][0], Killed)


async def test_a_child_that_dies_by_itself_during_the_shutdown_is_left_alone(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    family = [player("a", journal), player("b", journal, Plan(stop_takes=4))]
    async with trio.open_nursery() as nursery:
        async with open_runtime(supervisor("app", *family)) as runtime:
            seen = Recorder(runtime)
            ref = runtime.ref("app/a")

            async def crash_meanwhile() -> None:
                await trio.sleep(2)
                ref.cast(Player.crash)  # type: ignore[arg-type] # found by path, so untyped

            nursery.start_soon(crash_meanwhile)
        assert journal == ["+a", "+b", "?b", "?a", "-a", "-b"]
        assert [type(reason) for reason in seen.exits["app/a"]] == [Crashed]


async def test_the_end_of_a_supervisor_is_seen_only_after_its_last_child(autojump_clock: MockClock) -> None:
    order: list[str] = []
    shelf = supervisor("shelf", player("a", [], Plan(stop_takes=3)), player("b", [], Plan(stop_takes=3)))
    async with open_runtime(supervisor("app", shelf)) as runtime:
        runtime.events.subscribe(
            lambda event: order.append(event.actor) if type(event).__name__ == "ActorExited" else None
        )
    assert order == ["app/shelf/b", "app/shelf/a", "app/shelf", "app"]


async def test_a_grandchild_that_is_stuck_is_named_and_nothing_is_abandoned(
    autojump_clock: MockClock,
) -> None:
    stuck: list[str] = []
    plan = Plan(stop_takes=60, shielded=True)
    shelf = supervisor("shelf", player("a", [], plan, shutdown=1))
    async with open_runtime(supervisor("app", shelf)) as runtime:
        runtime.events.subscribe(
            lambda event: stuck.append(event.actor) if type(event).__name__ == "ActorStuck" else None
        )
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(60)
    assert set(stuck) == {"app/shelf/a"}


async def test_a_shutdown_tells_the_ends_it_accepts_from_those_that_are_news(
    autojump_clock: MockClock,
) -> None:
    def slow(seconds: float) -> Plan:
        return Plan(stop_takes=seconds)

    family = {
        "told": player("told", []),
        "late": player("late", [], slow(9), shutdown=1),
        "brutal": player("brutal", [], shutdown=BRUTAL_KILL),
        "own": player("own", [], slow(2)),  # It ends by itself when it is told to stop.
        "own-transient": player("own-transient", [], slow(2), restart=TRANSIENT),
        "crashing": child("crashing", lambda: CrashesInCleanup([])),
        "shelf": supervisor("shelf", player("below", []), shutdown=BRUTAL_KILL),
    }
    ends: dict[str, ActorExited] = {}
    async with open_runtime(supervisor("app", *family.values())) as runtime:
        runtime.events.subscribe(
            lambda event: ends.update({event.actor: event}) if isinstance(event, ActorExited) else None
        )
        finish("own")
        finish("own-transient")
        await wait_all_tasks_blocked()
        assert life(runtime, "app/own") == "stopping"
    levels = {path.rpartition("/")[2]: (end.expected, end.log_level()) for path, end in ends.items()}
    assert levels == {
        "app": (True, "debug"),
        "told": (True, "debug"),
        "late": (False, "warning"),
        "brutal": (True, "debug"),
        "own": (False, "warning"),
        "own-transient": (True, "debug"),
        "crashing": (False, "error"),
        "shelf": (True, "debug"),
        "below": (True, "debug"),  # Killed with the one above it, as that one's spec says.
    }


class CrashesInCleanup(Player):
    async def on_stop(self, reason: ExitReason) -> None:
        raise OSError("cannot clean up")


async def test_a_kill_that_nobody_planned_is_news_although_the_spec_has_a_brutal_kill() -> None:
    ends: list[ActorExited] = []
    async with open_runtime(supervisor("app", player("a", [], shutdown=BRUTAL_KILL))) as runtime:
        runtime.events.subscribe(lambda event: ends.append(event) if isinstance(event, ActorExited) else None)
        runtime.ref("app/a")._find().kill()
        await wait_all_tasks_blocked()
        assert [(end.expected, end.log_level()) for end in ends] == [(False, "warning")]


# auto_shutdown.

ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT


def significant(*ids: str, journal: Journal, mode: AutoShutdown, restart: object = TRANSIENT) -> object:
    family = [player(id, journal, significant=True, restart=restart) for id in ids]
    shelf = supervisor(
        "shelf", player("x", journal), *family, auto_shutdown=mode, restart=TRANSIENT, name=SHELF
    )
    return supervisor("app", shelf)


SHELF = Name(Supervisor, "shelf")


async def test_any_significant_child_that_ends_well_takes_its_supervisor_with_it() -> None:
    journal: Journal = []
    async with open_runtime(significant("s", "t", journal=journal, mode=ANY)) as runtime:
        journal.clear()
        finish("s")
        await wait_all_tasks_blocked()
        assert journal == ["?s", "-s", "?t", "-t", "?x", "-x"]
        assert life(runtime, "app/shelf") == "stopped"
        assert runtime.snapshot().children[0].last_exit == "shutdown: auto_shutdown"


async def test_a_significant_temporary_child_counts_however_it_ends() -> None:
    async with open_runtime(significant("s", journal=[], mode=ANY, restart=TEMPORARY)) as runtime:
        crash("s")
        await wait_all_tasks_blocked()
        assert life(runtime, "app/shelf") == "stopped"


async def test_all_significant_waits_for_the_last_of_them() -> None:
    async with open_runtime(significant("s", "t", journal=[], mode=ALL)) as runtime:
        finish("s")
        await wait_all_tasks_blocked()
        assert life(runtime, "app/shelf") == "running"
        finish("t")
        await wait_all_tasks_blocked()
        assert life(runtime, "app/shelf") == "stopped"


async def test_a_significant_child_that_waits_for_its_restart_has_not_ended(
    autojump_clock: MockClock,
) -> None:
    patient = Backoff(floor=50, base=50, cap=50)
    family = [player(id, [], significant=True, restart=TRANSIENT, backoff=patient) for id in "st"]
    async with open_runtime(supervisor("app", *family, auto_shutdown=ALL)) as runtime:
        crash("s")
        await trio.sleep(1)
        finish("t")
        await trio.sleep(60)
        assert (life(runtime, "app"), life(runtime, "app/s")) == ("running", "running")


async def test_neither_a_crash_nor_an_order_nor_another_childs_end_shuts_down() -> None:
    async with open_runtime(significant("s", journal=[], mode=ANY)) as runtime:
        crash("s")
        finish("x")
        await wait_all_tasks_blocked()
        await SHELF.call(Supervisor.terminate_child, "s")
        await wait_all_tasks_blocked()
        assert life(runtime, "app/shelf") == "running"


async def test_the_order_of_a_group_restart_does_not_shut_down() -> None:
    journal: Journal = []
    shelf = supervisor(
        "shelf",
        player("x", journal),
        player("s", journal, significant=True, restart=TRANSIENT),
        auto_shutdown=ANY,
        strategy=ONE_FOR_ALL,
    )
    async with open_runtime(supervisor("app", shelf)) as runtime:
        crash("x")
        await wait_all_tasks_blocked()
        assert (life(runtime, "app/shelf"), generation(runtime, "app/shelf/s")) == ("running", 2)


# Deadlocks.


async def test_a_call_to_a_child_that_waits_for_its_own_supervisor_ends_in_time(
    autojump_clock: MockClock,
) -> None:
    """A start that asks its own supervisor can only fail: documented, and bounded by the call's deadline."""
    root = Name(Supervisor, "root")

    @attrs.define
    class Curious(Actor):
        async def on_start(self) -> None:
            await root.call(Supervisor.which_children)

    before = trio.current_time()
    with pytest.raises(StartFailed, match="sent no reply within 5 s"):
        async with open_runtime(supervisor("app", child("c", Curious), name=root)):
            raise AssertionError("it must not start")
    assert trio.current_time() - before == pytest.approx(5)


async def test_crash_during_stop_is_told_to_callers() -> None:
    async with open_runtime(supervisor("app", player("a", []))):
        with pytest.raises(ActorCrashed):
            await name("a").call(Player.crash)
