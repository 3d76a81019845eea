"""Requests to a supervisor while it runs: OTP's statements 28, 29 and 40 to 44."""

import math
from collections.abc import Callable
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    ONE_FOR_ALL,
    PERMANENT,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    Actor,
    ActorCrashed,
    ActorStopped,
    AlreadyPresent,
    AlreadyStarted,
    Backoff,
    ChildCounts,
    ChildError,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ChildSpec,
    ChildStartFailed,
    ChildStopped,
    CoolDown,
    Crashed,
    Down,
    Name,
    Ref,
    Signal,
    Strategy,
    Supervisor,
    child,
    open_runtime,
    restart_at,
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

ROOT = Name(Supervisor, "root")


def app(*children: ChildSpec, **options: object) -> object:
    return supervisor("app", *children, name=ROOT, **options)  # type: ignore[arg-type] # test helper


# start_child.


async def test_a_started_child_comes_last_and_is_supervised_like_the_others() -> None:
    journal: Journal = []
    async with open_runtime(app(player("a", journal))) as runtime:
        assert await ROOT.call(Supervisor.start_child, player("b", journal)) == "app/b"
        crash("b")
        await wait_all_tasks_blocked()
        assert (life(runtime, "app/b"), restarts(runtime, "app/b")) == ("running", 1)
    assert journal[-4:] == ["?b", "-b", "?a", "-a"]


async def test_an_id_in_use_is_refused_and_the_error_tells_whether_its_child_runs() -> None:
    async with open_runtime(app(player("a", []), player("done", [], restart=TRANSIENT))):
        finish("done")
        await wait_all_tasks_blocked()
        with pytest.raises(AlreadyStarted, match="app/a: the id is in use by a child that runs") as runs:
            await ROOT.call(Supervisor.start_child, child("a", Player))
        assert (runs.value.path, runs.value.id) == ("app/a", "a")
        with pytest.raises(
            AlreadyPresent, match="restart_child starts it, delete_child frees the id"
        ) as kept:
            await ROOT.call(Supervisor.start_child, child("done", Player))
        assert (kept.value.path, kept.value.state) == ("app/done", "stopped")


async def test_a_child_that_fails_to_start_is_forgotten_and_its_id_is_free() -> None:
    async with open_runtime(app()) as runtime:
        with pytest.raises(ChildStartFailed, match=r"app/a: .*a cannot start"):
            await ROOT.call(Supervisor.start_child, player("a", [], Plan(failing_starts=1)))
        assert life(runtime, "app/a") == "gone"
        await ROOT.call(Supervisor.start_child, player("a", []))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (child("", Player), "id must be a word"),
        (child("x", "nonsense"), "not callable"),  # type: ignore[arg-type] # wrong on purpose
        (child("x", Player([])), "an actor already"),  # type: ignore[arg-type] # wrong on purpose
        (child("x", partial(Player, []), significant=True, restart=TRANSIENT), "auto_shutdown"),
        (supervisor("x", player("y", []), player("y", [])), "two children have the id 'y'"),
        (Player, "no child spec"),
        ("x", "no child spec"),
    ],
)
async def test_a_wrong_spec_is_the_callers_mistake_and_touches_nothing(spec: ChildSpec, why: str) -> None:
    journal: Journal = []
    async with open_runtime(app(player("a", journal))) as runtime:
        with pytest.raises(ChildStartFailed, match=why):
            await ROOT.call(Supervisor.start_child, spec)
        assert generation(runtime, "app") == 1
        assert [place.id for place in runtime.snapshot().children] == ["a"]


async def test_a_name_that_is_held_elsewhere_fails_the_start_and_leaves_its_holder_alone() -> None:
    async with open_runtime(app(player("a", []))) as runtime:
        with pytest.raises(ChildStartFailed, match="'a': app/a holds it"):
            await ROOT.call(Supervisor.start_child, child("b", partial(Player, []), name=name("a")))
        await name("a").call(Player.note, "still here")
        assert life(runtime, "app/b") == "gone"
        assert (generation(runtime, "app"), generation(runtime, "app/a")) == (1, 1)


@pytest.mark.parametrize("id", ["nobody", None, ["a"], 7])
async def test_an_id_that_is_nobodys_is_not_found(id: str) -> None:
    async with open_runtime(app(player("a", []))) as runtime:
        for request in (
            Supervisor.terminate_child,
            Supervisor.restart_child,
            Supervisor.delete_child,
            Supervisor.cycle_child,
            Supervisor.retry_child,
            Supervisor.which_child,
            Supervisor.get_childspec,
        ):
            with pytest.raises(ChildNotFound, match="there are: a"):
                await ROOT.call(request, id)
        assert generation(runtime, "app") == 1


async def test_a_stop_does_not_wait_for_a_child_that_is_being_added(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        async with open_runtime(app(player("a", []))):

            async def add() -> None:
                with pytest.raises(ActorCrashed):
                    await ROOT.within(math.inf).call(
                        Supervisor.start_child, player("slow", [], Plan(start_takes=20))
                    )

            nursery.start_soon(add)
            await trio.sleep(1)
            before = trio.current_time()
        assert trio.current_time() == before


# terminate_child, restart_child, delete_child, cycle_child.


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_terminated_child_keeps_its_place_and_its_siblings_do_not_notice(strategy: Strategy) -> None:
    journal: Journal = []
    async with open_runtime(
        app(*(player(id, journal) for id in "abc"), strategy=strategy, intensity=0)
    ) as runtime:
        journal.clear()
        await ROOT.call(Supervisor.terminate_child, "b")
        await ROOT.call(Supervisor.terminate_child, "b")  # Twice is once.
        assert journal == ["?b", "-b"]
        with pytest.raises(ActorStopped):
            await runtime.ref("app/b").call(Player.recall)  # type: ignore[arg-type] # found by path
        await ROOT.call(Supervisor.restart_child, "b")
        assert [place.id for place in runtime.snapshot().children] == ["a", "b", "c"]
        assert (restarts(runtime, "app/b"), life(runtime, "app/b")) == (0, "running")


async def test_a_terminated_temporary_child_is_forgotten() -> None:
    async with open_runtime(app(player("t", [], restart=TEMPORARY))) as runtime:
        await ROOT.call(Supervisor.terminate_child, "t")
        assert life(runtime, "app/t") == "gone"
        await ROOT.call(Supervisor.start_child, player("t", []))


async def test_the_name_of_a_terminated_child_is_free_before_its_watchers_learn_of_it() -> None:
    taken: list[str] = []
    place = Name(Player, "place")

    @attrs.define
    class Heir(Actor):
        async def on_start(self) -> None:
            self.context.monitor(place)

        async def on_signal(self, signal: Signal) -> None:
            assert isinstance(signal, Down)
            self.context.start_soon(self._take)

        async def _take(self) -> None:
            taken.append(await ROOT.call(Supervisor.start_child, child("b", lambda: Player([]), name=place)))

    async with open_runtime(app(child("a", lambda: Player([]), name=place), child("heir", Heir))):
        await ROOT.call(Supervisor.terminate_child, "a")
        await wait_all_tasks_blocked()
        assert taken == ["app/b"]
        with pytest.raises(ChildStartFailed, match="app/b holds it"):
            await ROOT.call(Supervisor.restart_child, "a")


async def test_only_a_stopped_child_is_restarted_or_deleted() -> None:
    async with open_runtime(app(player("a", []))) as runtime:
        for request in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildRunning, match=r"app/a: it runs; terminate it first"):
                await ROOT.call(request, "a")
        await ROOT.call(Supervisor.terminate_child, "a")
        await ROOT.call(Supervisor.delete_child, "a")
        assert life(runtime, "app/a") == "gone"
        with pytest.raises(ChildNotFound):
            await ROOT.call(Supervisor.delete_child, "a")


@pytest.mark.parametrize("request_", [Supervisor.restart_child, Supervisor.cycle_child])
async def test_a_requested_start_that_fails_leaves_the_child_stopped_and_costs_nothing(
    request_: Callable[..., object],
) -> None:
    plan = Plan()
    async with open_runtime(app(player("a", [], plan), intensity=0)) as runtime:
        await ROOT.call(Supervisor.terminate_child, "a")
        for _ in range(3):
            plan.failing_starts = 1
            with pytest.raises(ChildStartFailed, match="a cannot start") as failed:
                await ROOT.call(request_, "a")  # type: ignore[arg-type,misc] # one of two with this signature
            assert isinstance(failed.value.reason, Crashed)
            assert life(runtime, "app/a") == "stopped"
        await ROOT.call(Supervisor.restart_child, "a")
        assert life(runtime, "app/a") == "running"


async def test_a_cycled_child_keeps_its_mail_and_its_ref(autojump_clock: MockClock) -> None:
    plan = Plan(stop_takes=2)
    async with open_runtime(app(player("a", [], plan))) as runtime:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart_at, runtime, "app/a")
            await trio.sleep(1)
            name("a").cast(Player.note, "meanwhile")
        assert await name("a").call(Player.recall) == ["meanwhile"]
        assert generation(runtime, "app/a") == 2


# While a child restarts.


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_child_that_is_restarting_is_shown_so_and_can_only_be_terminated(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    journal: Journal = []
    patient = Backoff(floor=50, base=50, cap=50)
    async with open_runtime(
        app(player("x", []), player("a", journal, backoff=patient), strategy=strategy)
    ) as runtime:
        crash("a")
        await trio.sleep(1)
        shown = await ROOT.call(Supervisor.which_children)
        assert [(info.id, info.state, info.kind) for info in shown] == [
            ("a", "restarting", "worker"),
            ("x", "running", "worker"),
        ]
        assert await ROOT.call(Supervisor.count_children) == ChildCounts(2, 1, 0, 2)
        with pytest.raises(AlreadyPresent) as kept:
            await ROOT.call(Supervisor.start_child, child("a", Player))
        assert kept.value.state == "restarting"
        for request in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildRestarting, match="retry_child starts it now, terminate_child gives up"):
                await ROOT.call(request, "a")
        await ROOT.call(Supervisor.terminate_child, "a")
        await trio.sleep(100)
        assert life(runtime, "app/a") == "stopped"
        assert journal.count("+a") == 1
        await ROOT.call(Supervisor.restart_child, "a")  # The order to stop was for the one before.
        await trio.sleep(1)
        assert (life(runtime, "app/a"), generation(runtime, "app/a")) == ("running", 2)


async def test_requests_are_served_between_the_retries_of_a_group(autojump_clock: MockClock) -> None:
    plan = Plan()
    family = [player("a", []), player("b", [], plan), player("c", [])]
    async with open_runtime(app(*family, strategy=REST_FOR_ONE, intensity=1_000, period=10_000.0)) as runtime:
        plan.start_takes, plan.failing_starts = 1, 1_000
        crash("a")
        await trio.sleep(10.5)
        await ROOT.call(Supervisor.terminate_child, "b")
        await trio.sleep(10)
        states = {info.id: info.state for info in await ROOT.call(Supervisor.which_children)}
        # The retry was cancelled with b, so nothing brings c back by itself: it says so, and can be started.
        assert states == {"a": "running", "b": "stopped", "c": "stopped"}
        await ROOT.call(Supervisor.restart_child, "c")
        assert life(runtime, "app/c") == "running"


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, REST_FOR_ONE])
async def test_a_sibling_that_waits_for_its_own_restart_comes_back_although_another_is_terminated(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    patient = Backoff(floor=50, base=50, cap=50)
    family = [player(id, [], backoff=patient) for id in "ab"]
    async with open_runtime(app(*family, strategy=strategy)) as runtime:
        crash("b")
        await trio.sleep(1)
        crash("a")
        await trio.sleep(1)
        await ROOT.call(Supervisor.terminate_child, "a")
        assert (life(runtime, "app/a"), life(runtime, "app/b")) == ("stopped", "restarting")
        await trio.sleep(50)
        assert life(runtime, "app/b") == "running"


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, REST_FOR_ONE])
async def test_terminating_one_that_waits_for_the_retry_of_another_leaves_the_rest_to_that_retry(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    plan, patient = Plan(), Backoff(floor=50, base=50, cap=50)
    family = [player("a", [], plan, backoff=patient), player("b", []), player("c", [])]
    async with open_runtime(app(*family, strategy=strategy)) as runtime:
        plan.failing_starts = 1
        crash("a")
        await trio.sleep(51)  # Its start has failed; b and c were stopped for it.
        await ROOT.call(Supervisor.terminate_child, "b")
        assert [life(runtime, f"app/{id}") for id in "abc"] == ["restarting", "stopped", "restarting"]
        await trio.sleep(50)
        assert [life(runtime, f"app/{id}") for id in "abc"] == ["running"] * 3


async def test_a_retry_that_is_on_its_way_starts_nobody_who_was_terminated() -> None:
    journal: Journal = []
    plan = Plan()
    family = [player("a", journal), player("b", journal, plan)]
    async with open_runtime(app(*family, strategy=ONE_FOR_ALL, intensity=1_000)):
        plan.failing_starts = 1_000_000
        crash("b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ROOT.call, Supervisor.terminate_child, "b")
        tried = journal.count("b failed")
        await wait_all_tasks_blocked()
        assert journal.count("b failed") == tried


# retry_child.

PATIENT = Backoff(floor=50, base=50, cap=50)


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_backoff_is_cut_short_on_request_and_costs_no_restart(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    family = [player("x", []), player("a", [], backoff=PATIENT)]
    async with open_runtime(app(*family, strategy=strategy, intensity=1, period=1_000.0)) as runtime:
        crash("a")
        await trio.sleep(1)
        name("a").cast(Player.note, "waits")
        before = trio.current_time()
        await ROOT.call(Supervisor.retry_child, "a")
        assert await name("a").call(Player.recall) == ["waits"]
        assert trio.current_time() == before
        await trio.sleep(100)  # The delay that was overtaken starts nobody.
        assert (generation(runtime, "app/a"), life(runtime, "app/a")) == (2, "running")


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_cool_down_is_cut_short_on_request(strategy: Strategy, autojump_clock: MockClock) -> None:
    family = [player("x", []), player("a", [])]
    async with open_runtime(app(*family, strategy=strategy, intensity=0, on_limit=CoolDown(50))) as runtime:
        crash("a")
        await trio.sleep(1)
        assert life(runtime, "app/a") == "restarting"
        await ROOT.call(Supervisor.retry_child, "a")
        await wait_all_tasks_blocked()
        assert life(runtime, "app/a") == "running"
        await trio.sleep(100)
        assert generation(runtime, "app/a") == 2


async def test_retrying_one_that_waits_for_another_starts_that_one_and_with_it_the_group(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    plan = Plan()
    family = [player("a", journal), player("b", journal, plan, backoff=PATIENT), player("c", journal)]
    async with open_runtime(app(*family, strategy=REST_FOR_ONE)):
        plan.failing_starts = 1
        crash("a")
        await trio.sleep(1)
        journal.clear()
        await ROOT.call(Supervisor.retry_child, "c")
        await wait_all_tasks_blocked()
        assert journal == ["+b", "+c"]


async def test_only_what_waits_is_retried() -> None:
    async with open_runtime(app(player("a", []))):
        with pytest.raises(ChildRunning, match="nothing to retry"):
            await ROOT.call(Supervisor.retry_child, "a")
        await ROOT.call(Supervisor.terminate_child, "a")
        with pytest.raises(ChildStopped, match="use restart_child"):
            await ROOT.call(Supervisor.retry_child, "a")


async def test_terminating_one_that_waits_for_another_leaves_the_others_retry_alone(
    autojump_clock: MockClock,
) -> None:
    plan = Plan()
    family = [player("a", []), player("b", [], plan, backoff=PATIENT), player("c", [])]
    async with open_runtime(app(*family, strategy=REST_FOR_ONE)):
        plan.failing_starts = 1
        crash("a")
        await trio.sleep(1)
        await ROOT.call(Supervisor.terminate_child, "c")
        states = {info.id: info.state for info in await ROOT.call(Supervisor.which_children)}
        assert states == {"a": "running", "b": "restarting", "c": "stopped"}
        await trio.sleep(60)
        states = {info.id: info.state for info in await ROOT.call(Supervisor.which_children)}
        assert states == {"a": "running", "b": "running", "c": "running"}  # A group starts the stopped too.


# Looking.


async def test_one_child_can_be_looked_at_and_its_spec_has_all_defaults() -> None:
    spec = player("a", [])
    async with open_runtime(app(player("x", []), spec)):
        info = await ROOT.call(Supervisor.which_child, "a")
        assert (info.id, info.path, info.state, info.kind) == ("a", "app/a", "running", "worker")
        found = await ROOT.call(Supervisor.get_childspec, "a")
        assert found == spec
        assert (found.restart, found.shutdown, found.start_timeout) == (PERMANENT, 5.0, 30.0)


async def test_a_start_that_is_under_way_again_counts_as_restarting(autojump_clock: MockClock) -> None:
    plan = Plan()
    async with open_runtime(app(player("a", [], plan))):
        plan.start_takes = 10
        crash("a")
        await trio.sleep(1)
        assert (await ROOT.call(Supervisor.which_child, "a")).state == "restarting"
        assert (await ROOT.call(Supervisor.count_children)).active == 0
        await ROOT.call(Supervisor.retry_child, "a")  # Which it is doing already.
        await trio.sleep(10)
        assert (await ROOT.call(Supervisor.which_child, "a")).state == "running"


async def test_children_are_listed_latest_first_and_counted_by_kind() -> None:
    shelf = supervisor("shelf", player("deep", []))
    async with open_runtime(app(player("a", []), shelf, player("done", [], restart=TRANSIENT))):
        finish("done")
        await wait_all_tasks_blocked()
        shown = await ROOT.call(Supervisor.which_children)
        assert [(info.id, info.path, info.state, info.kind) for info in shown] == [
            ("done", "app/done", "stopped", "worker"),
            ("shelf", "app/shelf", "running", "supervisor"),
            ("a", "app/a", "running", "worker"),
        ]
        assert await ROOT.call(Supervisor.count_children) == ChildCounts(
            specs=3, active=2, supervisors=1, workers=2
        )


async def test_requests_to_a_supervisor_that_has_ended_fail_at_once() -> None:
    async with open_runtime(app()) as runtime:
        ref: Ref[Supervisor] = runtime.ref("app")  # type: ignore[assignment] # found by path, so untyped
        await runtime.stop()
        with pytest.raises(ActorStopped):
            await ref.call(Supervisor.which_children)


# Requests that would wait for themselves.


@attrs.define
class Suicidal(Actor):
    async def end(self, id: str) -> str:
        await ROOT.call(Supervisor.terminate_child, id)
        return "not reached"

    async def end_from_below(self, id: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ROOT.call, Supervisor.terminate_child, id)

    async def cycle_from_beside(self) -> None:
        self.context.start_soon(ROOT.call, Supervisor.cycle_child, "s")

    async def cast_end(self) -> None:
        ROOT.cast(Supervisor.terminate_child, "s")


async def test_a_child_that_asks_for_its_own_end_is_refused_and_not_left_to_time_out(
    autojump_clock: MockClock,
) -> None:
    me = Name(Suicidal, "s")
    async with open_runtime(app(child("s", Suicidal, name=me))) as runtime:
        before = trio.current_time()
        with pytest.raises(ChildError, match=r"cannot wait for its own end.*context\.stop"):
            await me.call(Suicidal.end, "s")
        with pytest.raises(ChildError, match="cannot wait for its own end"):
            await me.call(Suicidal.end_from_below, "s")
        before_cycle = generation(runtime, "app/s")
        await me.call(Suicidal.cycle_from_beside)  # A background task is cancelled and holds nothing up.
        await wait_all_tasks_blocked()
        assert generation(runtime, "app/s") == before_cycle + 1
        await me.call(Suicidal.cast_end)  # Without waiting it is a fair request.
        await wait_all_tasks_blocked()
        assert life(runtime, "app/s") == "stopped"
        assert trio.current_time() == before


async def test_a_descendant_may_not_wait_for_the_end_of_its_ancestor_either(
    autojump_clock: MockClock,
) -> None:
    me = Name(Suicidal, "s")
    shelf = supervisor("shelf", supervisor("board", child("s", Suicidal, name=me)))
    async with open_runtime(app(shelf)) as runtime:
        with pytest.raises(ChildError, match=r"app/shelf: .*its own end"):
            await me.call(Suicidal.end, "shelf")
        assert life(runtime, "app/shelf") == "running"


async def test_events_tell_of_every_restart_of_a_group() -> None:
    counted: list[str] = []
    async with open_runtime(app(*(player(id, []) for id in "abc"), strategy=ONE_FOR_ALL)) as runtime:
        seen = Recorder(runtime)
        runtime.events.subscribe(
            lambda event: counted.append(event.actor) if type(event).__name__ == "ActorRestarting" else None
        )
        crash("b")
        await wait_all_tasks_blocked()
        assert counted == ["app/a", "app/b", "app/c"]
        assert set(seen.exits) == {"app/a", "app/b", "app/c"}
