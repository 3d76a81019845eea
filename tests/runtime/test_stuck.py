"""Actors that do not end when they must: every way to refuse is noticed, told with its place, and told again."""

import itertools
import math
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    Actor,
    ActorExited,
    ActorStuck,
    Crashed,
    Event,
    ExitReason,
    Killed,
    Life,
    Name,
    Recipe,
    StartFailed,
    StuckActorEnded,
    System,
    child,
    open_runtime,
    supervisor,
)
from resprout.runtime.stack import place_of
from resprout.runtime.stuck import LAST_GAP, STUCK_AFTER

Refusal = Callable[[float], Awaitable[None]]


async def shield(seconds: float) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


async def swallow(seconds: float) -> None:
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        try:
            await trio.sleep_until(end)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):  # Lest it spins, and virtual time stands still.
                await trio.sleep(0.5)


async def hide_in_a_nursery(seconds: float) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shield, seconds)


@attrs.define
class Refuser(Actor):
    """Refuses to end, at one place of its life."""

    place: str
    refuse: Refusal
    seconds: float

    async def on_start(self) -> None:
        if self.place == "on_start":
            await self.refuse(self.seconds)
        if self.place == "background":
            self.context.start_soon(self.refuse, self.seconds)
        if self.place == "spawned":
            await self.context.spawn("kid", partial(Refuser, "background", self.refuse, self.seconds))

    async def on_stop(self, reason: ExitReason) -> None:
        if self.place == "on_stop":
            await self.refuse(self.seconds)

    async def work(self) -> None:
        if self.place == "handler":
            await self.refuse(self.seconds)

    async def crash(self) -> None:
        raise ValueError("boom")


REFUSER = Name(Refuser, "refuser")


def tree(place: str, refuse: Refusal, seconds: float, shutdown: float = 1.0) -> Recipe:
    refuser = partial(Refuser, place, refuse, seconds)
    return supervisor("app", child("r", refuser, name=REFUSER, shutdown=shutdown, start_timeout=1.0))


def listen(runtime: System) -> list[Event]:
    heard: list[Event] = []
    runtime.events.subscribe(heard.append)
    return heard


def stuck(heard: list[Event]) -> list[ActorStuck]:
    return [event for event in heard if isinstance(event, ActorStuck)]


REFUSALS = [shield, swallow, hide_in_a_nursery]


@pytest.mark.parametrize("refuse", REFUSALS)
@pytest.mark.parametrize("place", ["handler", "background", "spawned", "on_stop"])
async def test_whoever_refuses_to_end_is_told_where_it_stands_and_is_awaited(
    place: str, refuse: Refusal, autojump_clock: MockClock
) -> None:
    async with open_runtime(tree(place, refuse, 21)) as runtime:
        heard = listen(runtime)
        REFUSER.cast(Refuser.work)
        await wait_all_tasks_blocked()
        before = trio.current_time()
    assert trio.current_time() - before >= 20
    reports = stuck(heard)
    assert {event.actor for event in reports} == {"app/r/kid" if place == "spawned" else "app/r"}
    assert [event.after for event in reports] == pytest.approx([2, 4, 8, 16])
    assert [event.count for event in reports] == [1, 2, 3, 4]
    where = "shield" if refuse is hide_in_a_nursery else refuse.__name__
    assert all(f"in {where}" in event.stack for event in reports)
    (end,) = [event for event in heard if isinstance(event, StuckActorEnded)]
    assert end.actor == reports[0].actor
    assert 16 < end.after <= 21
    last = [event for event in heard if isinstance(event, ActorExited) and event.actor == end.actor][-1]
    assert isinstance(last.reason, Killed) or place in ("background", "spawned")


@pytest.mark.parametrize("refuse", REFUSALS)
async def test_a_start_that_hangs_and_refuses_to_be_given_up_is_told(
    refuse: Refusal, autojump_clock: MockClock
) -> None:
    heard: list[Event] = []
    system = System()
    system.events.subscribe(heard.append)
    with pytest.raises(StartFailed):
        async with system.running(tree("on_start", refuse, 12)):
            raise AssertionError("it must not start")
    assert [event.after for event in stuck(heard)] == pytest.approx([2, 4, 8])


async def test_an_on_stop_after_a_crash_is_told_although_nobody_waits_for_it(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(tree("on_stop", shield, 9)) as runtime:
        heard = listen(runtime)
        REFUSER.cast(Refuser.crash)
        await trio.sleep(8)
        assert [event.after for event in stuck(heard)] == pytest.approx([2, 4])
        await trio.sleep(2)
        assert [type(event).__name__ for event in heard][-4:] == [
            "StuckActorEnded",
            "ActorExited",
            "ActorRestarting",
            "ActorStarted",
        ]


@pytest.mark.parametrize("shutdown", [30.0, math.inf])
async def test_an_on_stop_within_its_time_is_not_stuck(shutdown: float, autojump_clock: MockClock) -> None:
    async with open_runtime(tree("on_stop", shield, 20, shutdown)) as runtime:
        heard = listen(runtime)
    assert stuck(heard) == []
    assert not any(isinstance(event, StuckActorEnded) for event in heard)


async def test_a_handler_that_obeys_late_is_not_told_while_its_on_stop_has_time(
    autojump_clock: MockClock,
) -> None:
    @attrs.define
    class Slow(Refuser):
        async def on_start(self) -> None:
            self.context.start_soon(self._fail_soon)

        async def _fail_soon(self) -> None:
            await trio.sleep(1)
            raise OSError("beside")

        async def work(self) -> None:
            await shield(2)

    slow = child("r", partial(Slow, "on_stop", shield, 5), name=REFUSER, shutdown=6.0)
    async with open_runtime(supervisor("app", slow)) as runtime:
        heard = listen(runtime)
        REFUSER.cast(Slow.work)
        await trio.sleep(9)
        assert stuck(heard) == []
        assert runtime.snapshot().children[0].restarts == 1


async def test_reports_go_on_for_as_long_as_it_lives_at_most_five_minutes_apart(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(tree("handler", shield, 3600)) as runtime:
        heard = listen(runtime)
        REFUSER.cast(Refuser.work)
        await wait_all_tasks_blocked()
    moments = [event.after for event in stuck(heard)]
    gaps = [late - early for early, late in itertools.pairwise(moments)]
    assert moments[0] == pytest.approx(STUCK_AFTER)
    assert gaps == sorted(gaps)
    assert gaps[-1] == LAST_GAP
    assert 3600 - moments[-1] < LAST_GAP + 1


async def test_a_stuck_actor_is_not_said_to_be_dead_and_not_replaced(autojump_clock: MockClock) -> None:
    async with open_runtime(tree("handler", shield, 100)) as runtime:
        REFUSER.cast(Refuser.work)
        await wait_all_tasks_blocked()
        runtime.ref("app/r")._find().kill("on purpose")
        await trio.sleep(50)
        place = runtime.snapshot().children[0]
        assert (place.life, place.generation, place.handling) == (Life.RUNNING.value, 1, "work")
        await trio.sleep(60)
        assert runtime.snapshot().children[0].generation == 2


async def test_of_an_awaitable_that_trio_cannot_look_into_the_frames_before_it_are_told(
    autojump_clock: MockClock,
) -> None:
    class Opaque:
        """As code in C makes them."""

        def __init__(self) -> None:
            self.inner = trio.sleep_forever().__await__()  # noqa: ASYNC105 - awaited by way of this object.

        def __await__(self) -> "Opaque":
            return self

        def __iter__(self) -> "Opaque":
            return self

        def __next__(self) -> object:
            return next(self.inner)

        def send(self, value: object) -> object:
            return self.inner.send(value)

    class Waiter(Actor):
        async def on_start(self) -> None:
            self.context.start_soon(self.wait_there)

        async def wait_there(self) -> None:
            await Opaque()

    async with open_runtime(child("w", Waiter)) as runtime:
        await wait_all_tasks_blocked()
        place = place_of(runtime.ref("w")._find().background[0])
        assert place.endswith("in wait_there")


async def test_an_actor_that_is_stuck_in_a_message_is_told_of_even_if_it_has_children_that_live(
    autojump_clock: MockClock,
) -> None:
    class Parent(Refuser):
        async def on_start(self) -> None:
            await self.context.spawn("kid", Actor)

    refuser = partial(Parent, "handler", shield, 21)
    async with open_runtime(child("r", refuser, name=REFUSER)) as runtime:
        heard = listen(runtime)
        REFUSER.cast(Refuser.work)
        await wait_all_tasks_blocked()
        REFUSER._find().strike(Crashed(ValueError("a linked actor crashed")))
        await trio.sleep(3)
        assert [event.actor for event in stuck(heard)] == ["r"]
