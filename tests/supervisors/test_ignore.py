"""Children that decline to start: OTP's `ignore`, statements 3, 5, 17 and 32."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    ONE_FOR_ALL,
    PERMANENT,
    TEMPORARY,
    TRANSIENT,
    Actor,
    ActorExited,
    ActorStopped,
    AutoShutdown,
    ChildCounts,
    ChildIgnored,
    ChildNotFound,
    ChildSpec,
    DynamicSupervisor,
    Event,
    Ignore,
    Ignored,
    Name,
    RestartType,
    StartFailed,
    Strategy,
    Supervisor,
    child,
    dynamic_supervisor,
    open_runtime,
    serve,
    supervisor,
)
from tests.supervisors.players import Journal, Player, crash, generation, life, name, player

ROOT = Name(Supervisor, "root")
ROOMS = Name(DynamicSupervisor, "rooms")


@attrs.define
class Switch:
    """A feature's switch, as a configuration has it."""

    on: bool = False


@attrs.define
class Feature(Player):
    """Starts only where it is switched on."""

    switch: Switch = attrs.field(factory=Switch)

    async def on_start(self) -> None:
        if not self.switch.on:
            raise Ignore("switched off")
        await super().on_start()


def feature(id: str, journal: Journal, switch: Switch | None = None, **options: object) -> ChildSpec:
    start = lambda: Feature(journal, switch=switch or Switch())  # noqa: E731 - reads as the `partial` of others
    return child(id, start, name=name(id), **options)  # type: ignore[arg-type] # test helper


async def test_a_child_that_declines_is_kept_stopped_and_its_supervisor_goes_on() -> None:
    journal: Journal = []
    tree = supervisor("app", player("a", journal), feature("f", journal), player("b", journal), name=ROOT)
    async with open_runtime(tree) as runtime:
        assert journal == ["+a", "+b"]
        assert life(runtime, "app/f") == "stopped"
        assert await ROOT.call(Supervisor.count_children) == ChildCounts(3, 2, 0, 3)
        with pytest.raises(LookupError):
            await name("f").call(Player.recall)
        with pytest.raises(ActorStopped, match="declined to start: switched off"):
            await runtime.ref("app/f").call(Player.recall)  # type: ignore[arg-type] # found by path


async def test_what_makes_the_actor_may_decline_as_well() -> None:
    def make() -> Actor:
        raise Ignore

    async with open_runtime(supervisor("app", child("f", make))) as runtime:
        assert life(runtime, "app/f") == "stopped"


async def test_a_temporary_child_that_declines_is_dropped() -> None:
    async with open_runtime(supervisor("app", feature("f", [], restart=TEMPORARY), name=ROOT)) as runtime:
        assert life(runtime, "app/f") == "gone"
        with pytest.raises(ChildIgnored):
            await ROOT.call(Supervisor.start_child, feature("f", [], restart=TEMPORARY))
        assert await ROOT.call(Supervisor.count_children) == ChildCounts(0, 0, 0, 0)


async def test_whoever_asks_for_a_start_is_told_that_it_was_declined() -> None:
    switch = Switch()
    async with open_runtime(supervisor("app", name=ROOT, intensity=0)) as runtime:
        with pytest.raises(ChildIgnored, match="app/f: it declined to start: switched off") as declined:
            await ROOT.call(Supervisor.start_child, feature("f", [], switch))
        assert declined.value.why == "switched off"
        for request in (Supervisor.restart_child, Supervisor.cycle_child):
            with pytest.raises(ChildIgnored):
                await ROOT.call(request, "f")
            assert life(runtime, "app/f") == "stopped"
        switch.on = True
        await ROOT.call(Supervisor.restart_child, "f")
        assert life(runtime, "app/f") == "running"


@pytest.mark.parametrize("restart", [PERMANENT, TRANSIENT, TEMPORARY])
async def test_a_dynamic_supervisor_forgets_whoever_declines(restart: RestartType) -> None:
    tree = supervisor("app", dynamic_supervisor("rooms", name=ROOMS, max_children=1))
    async with open_runtime(tree) as runtime:
        for _ in range(2):
            with pytest.raises(ChildIgnored):
                await ROOMS.call(DynamicSupervisor.start_child, feature("f", [], restart=restart))
        assert runtime.snapshot().children[0].children == ()
        with pytest.raises(ChildNotFound):
            await ROOMS.call(DynamicSupervisor.which_child, "f")


async def test_a_restart_that_is_declined_leaves_a_static_child_stopped_and_a_dynamic_one_gone() -> None:
    switch = Switch(on=True)
    rooms = dynamic_supervisor("rooms", name=ROOMS, intensity=1)
    async with open_runtime(supervisor("app", feature("f", [], switch), rooms, intensity=1)) as runtime:
        await ROOMS.call(DynamicSupervisor.start_child, feature("g", [], switch))
        switch.on = False
        crash("f", "g")
        await wait_all_tasks_blocked()
        assert (life(runtime, "app/f"), life(runtime, "app/rooms/g")) == ("stopped", "gone")
        assert (generation(runtime, "app"), generation(runtime, "app/rooms")) == (1, 1)


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_group_restart_tries_it_again_and_goes_on_if_it_declines_again(strategy: Strategy) -> None:
    journal: Journal = []
    switch = Switch()
    family = [player("a", journal), feature("f", journal, switch), player("c", journal)]
    async with open_runtime(supervisor("app", *family, strategy=strategy)):
        journal.clear()
        crash("a")
        await wait_all_tasks_blocked()
        assert journal[-2:] == ["+a", "+c"]
        switch.on = True
        crash("a")
        await wait_all_tasks_blocked()
        assert journal[-3:] == ["+a", "+f", "+c"]


async def test_declining_is_no_end_of_a_significant_child() -> None:
    family = [feature("f", [], significant=True, restart=TRANSIENT), player("x", [])]
    tree = supervisor("app", *family, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    async with open_runtime(tree) as runtime:
        await wait_all_tasks_blocked()
        assert life(runtime, "app") == "running"


async def test_declining_is_told_once_and_not_as_a_problem() -> None:
    told: list[Event] = []
    tree = supervisor("app", feature("f", []), name=ROOT)
    async with open_runtime(tree) as runtime:
        runtime.events.subscribe(told.append)
        with pytest.raises(ChildIgnored):
            await ROOT.call(Supervisor.restart_child, "f")
        assert [(type(event), event.log_level()) for event in told] == [(ActorExited, "info")]


async def test_mail_that_waited_for_one_that_declines_is_not_lost_in_silence(
    autojump_clock: MockClock,
) -> None:
    switch = Switch(on=True)
    async with open_runtime(supervisor("app", feature("f", [], switch))) as runtime:
        switch.on = False
        crash("f")
        name("f").cast(Player.note, "for whom?")
        await wait_all_tasks_blocked()
        assert [letter.message for letter in runtime.dead_letters] == ["note"]


async def test_a_spawned_child_that_declines_has_not_started() -> None:
    refused: list[StartFailed] = []

    class Parent(Actor):
        async def on_start(self) -> None:
            try:
                await self.context.spawn("f", lambda: Feature([]))
            except StartFailed as error:
                refused.append(error)

    async with open_runtime(supervisor("app", child("p", Parent))) as runtime:
        assert isinstance(refused[0].reason, Ignored)
        assert life(runtime, "app/p/f") == "gone"


async def test_in_a_handler_it_is_a_crash_like_any_other() -> None:
    class Late(Player):
        async def decline(self) -> None:
            raise Ignore("too late")

    late = Name(Late, "late")
    async with open_runtime(supervisor("app", child("late", lambda: Late([]), name=late))) as runtime:
        late.cast(Late.decline)
        await wait_all_tasks_blocked()
        assert generation(runtime, "app/late") == 2


async def test_a_tree_whose_root_declines_is_over_at_once_and_in_order() -> None:
    with trio.fail_after(5):
        assert await serve(feature("f", [])) == 0
