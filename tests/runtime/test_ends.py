"""How an incarnation ends: who is believed about the reason, what may not run any more, who is told what."""

import contextlib
import math
from collections.abc import Callable
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    BRUTAL_KILL,
    Actor,
    ActorCrashed,
    ActorExited,
    ActorStopped,
    Crashed,
    Event,
    ExitReason,
    Killed,
    Name,
    Normal,
    Recipe,
    Shutdown,
    StartFailed,
    StartTimeout,
    System,
    child,
    open_runtime,
    supervisor,
)
from resprout.runtime.lifecycle import ActorStuck
from resprout.runtime.stuck import STUCK_AFTER


@attrs.define
class Target(Actor):
    """Something to end in many ways; *done* is written by hooks and handlers."""

    done: list[str]
    stop: Callable[[], object] | None = None

    async def on_stop(self, reason: ExitReason) -> None:
        if self.stop is not None:
            await self.stop()  # type: ignore[misc] # an async function
        self.done.append(f"stopped: {type(reason).__name__}")

    async def nap(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.done.append("nap over")

    async def note(self, what: str) -> None:
        self.done.append(what)

    async def crash(self) -> None:
        raise ValueError("boom")

    async def beside(self, task: Callable[[], object]) -> None:
        self.context.start_soon(task)  # type: ignore[arg-type] # an async function

    async def shielded_nap(self, seconds: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    async def leave(self, reason: ExitReason) -> None:
        self.context.stop(reason)


TARGET = Name(Target, "target")


def alone(done: list[str], stop: Callable[[], object] | None = None, **options: object) -> Recipe:
    target = child("t", partial(Target, done, stop), name=TARGET, **options)  # type: ignore[arg-type] # test helper
    return supervisor("app", target)


def exits(runtime: System) -> list[ExitReason]:
    """The reasons with which `app/t` ends from now on."""
    reasons: list[ExitReason] = []

    def note(event: Event) -> None:
        if isinstance(event, ActorExited) and event.actor == "app/t":
            reasons.append(event.reason)

    runtime.events.subscribe(note)
    return reasons


async def fail_soon() -> None:
    await trio.sleep(1)
    raise OSError("beside")


async def test_a_background_failure_does_not_cut_on_stop_short_and_is_reported(
    autojump_clock: MockClock,
) -> None:
    done: list[str] = []
    async with open_runtime(alone(done, partial(trio.sleep, 3))) as runtime:
        reasons = exits(runtime)
        await TARGET.call(Target.beside, fail_soon)
    assert done == ["stopped: Shutdown"]
    (reason,) = reasons
    assert isinstance(reason, Crashed)
    assert isinstance(reason.error, OSError)


async def test_a_background_task_that_fails_in_its_cleanup_is_reported_too(autojump_clock: MockClock) -> None:
    async def fail_at_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("cleanup")

    async with open_runtime(alone([])) as runtime:
        reasons = exits(runtime)
        await TARGET.call(Target.beside, fail_at_the_end)
        await wait_all_tasks_blocked()
    assert [str(reason) for reason in reasons] == ["crashed: OSError: cleanup"]


async def test_an_error_in_on_stop_replaces_the_reason_and_keeps_the_crash_it_followed() -> None:
    async def fail() -> None:
        raise LookupError("on_stop")

    async with open_runtime(alone([], fail)) as runtime:
        reasons = exits(runtime)
        with pytest.raises(ActorCrashed):
            await TARGET.call(Target.crash)
        await wait_all_tasks_blocked()
    first = reasons[0]
    assert isinstance(first, Crashed)
    assert isinstance(first.error, LookupError)
    assert isinstance(first.error.__context__, ValueError)


async def test_an_on_stop_that_swallows_its_kill_was_killed_all_the_same(autojump_clock: MockClock) -> None:
    async def swallow() -> None:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()

    async with open_runtime(alone([], swallow, shutdown=1)) as runtime:
        reasons = exits(runtime)
    assert [type(reason) for reason in reasons] == [Killed]


async def test_a_kill_counts_above_the_crash_it_finds(autojump_clock: MockClock) -> None:
    async with open_runtime(alone([], partial(trio.sleep, 60), shutdown=100)) as runtime:
        reasons = exits(runtime)
        await TARGET.call(Target.beside, fail_soon)
        await trio.sleep(5)  # It crashed, and takes its time to stop.
        before = trio.current_time()
        runtime.abort()
        await runtime.wait()
        assert trio.current_time() == before
    assert reasons == [Killed("aborted")]


async def test_no_message_begins_after_the_actor_was_struck() -> None:
    done: list[str] = []
    async with open_runtime(alone(done, shutdown=BRUTAL_KILL)) as runtime:
        await wait_all_tasks_blocked()
        TARGET.cast(Target.note, "too late")  # Wakes the actor, which is then killed before it runs.
        runtime.abort()
        await runtime.wait()
    assert done == []


async def test_a_killed_supervisor_starts_nothing_any_more() -> None:
    started: list[str] = []

    class Starter(Actor):
        async def on_start(self) -> None:
            started.append(self.context.path)

    tree = supervisor("app", *(child(str(number), Starter) for number in range(20)), intensity=1_000)
    async with open_runtime(tree) as runtime:
        started.clear()
        runtime.abort()
        await runtime.wait()
    assert started == []


async def test_a_child_in_its_restart_delay_is_not_started_while_its_supervisor_stops(
    autojump_clock: MockClock,
) -> None:
    from resprout import Backoff

    done: list[str] = []

    @attrs.define
    class Counted(Actor):
        async def on_start(self) -> None:
            done.append("started")

        async def crash(self) -> None:
            raise ValueError

    counted = Name(Counted, "counted")
    slow = child("slow", partial(Target, [], partial(trio.sleep, 20)), shutdown=math.inf)
    delayed = child("d", Counted, name=counted, backoff=Backoff(floor=5, base=5, cap=5))
    async with open_runtime(supervisor("app", delayed, slow)):
        with pytest.raises(ActorCrashed):
            await counted.call(Counted.crash)
    assert done == ["started"]


async def test_a_start_that_swallows_its_cancellation_has_failed_all_the_same(
    autojump_clock: MockClock,
) -> None:
    class Swallower(Actor):
        async def on_start(self) -> None:
            with contextlib.suppress(trio.Cancelled):
                await trio.sleep_forever()

    tree = supervisor("app", child("s", Swallower, start_timeout=1))
    with pytest.raises(StartFailed) as caught:
        async with open_runtime(tree):
            raise AssertionError("it must not start")
    assert isinstance(caught.value.__cause__, StartFailed)
    assert isinstance(caught.value.__cause__.__cause__, StartTimeout)


async def test_a_call_in_work_when_its_actor_is_killed_does_not_claim_that_it_never_ran() -> None:
    async with open_runtime(alone([])) as runtime, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(ActorCrashed) as caught:
                await TARGET.call(Target.nap, 9)
            assert isinstance(caught.value.cause, ActorStopped)

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        runtime.abort()


async def test_a_background_task_that_starts_another_while_it_ends_does_not_hold_up_the_end(
    autojump_clock: MockClock,
) -> None:
    @attrs.define
    class Hydra(Actor):
        async def on_start(self) -> None:
            self.context.start_soon(self._head)

        async def _head(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.context.start_soon(trio.sleep_forever)

    with trio.fail_after(60):
        async with open_runtime(supervisor("app", child("h", Hydra))):
            await wait_all_tasks_blocked()


async def test_timers_set_while_an_actor_ends_do_not_reach_the_next_one(autojump_clock: MockClock) -> None:
    done: list[str] = []

    class Late(Target):
        async def on_start(self) -> None:
            self.context.start_soon(self._set_one_at_the_end)

        async def _set_one_at_the_end(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.context.after(1, Late.note, "stale")

    late = Name(Late, "late")
    async with open_runtime(supervisor("app", child("t", partial(Late, done), name=late))):
        await wait_all_tasks_blocked()
        with pytest.raises(ActorCrashed):
            await late.call(Late.crash)
        await trio.sleep(5)
    assert "stale" not in done


async def test_a_timer_that_rang_before_the_crash_is_not_heard_by_the_next_actor(
    autojump_clock: MockClock,
) -> None:
    done: list[str] = []

    class Impatient(Target):
        async def crash_later(self) -> None:
            self.context.after(1, Impatient.note, "stale")
            await trio.sleep(2)
            raise ValueError("later")

    impatient = Name(Impatient, "impatient")
    async with open_runtime(supervisor("app", child("t", partial(Impatient, done), name=impatient))):
        with pytest.raises(ActorCrashed):
            await impatient.call(Impatient.crash_later)
        await trio.sleep(5)
        impatient.cast(Impatient.note, "fresh")
        await wait_all_tasks_blocked()
        assert done == ["stopped: Crashed", "fresh"]


async def test_what_is_left_of_an_ended_actor_cannot_act_for_its_successor() -> None:
    first: list[Target] = []

    class Remembered(Target):
        async def on_start(self) -> None:
            first.append(self)

    remembered = Name(Remembered, "remembered")
    async with open_runtime(supervisor("app", child("t", partial(Remembered, []), name=remembered))):
        with pytest.raises(ActorCrashed):
            await remembered.call(Remembered.crash)
        await remembered.call(Remembered.note, "up again")
        stale = first[0].context
        for act in (
            partial(stale.start_soon, trio.sleep_forever),
            partial(stale.offer, object()),
            partial(stale.after, 1, Remembered.crash),
            partial(stale.every, 1, Remembered.crash),
            partial(stale.monitor, remembered),
            partial(stale.link, remembered),
            partial(stale.stop, Normal()),
        ):
            with pytest.raises(RuntimeError, match="has ended"):
                act()
        assert stale.path == "app/t"
        assert stale.ref.path == "app/t"


async def test_nothing_can_be_added_to_an_actor_whose_children_are_being_stopped(
    autojump_clock: MockClock,
) -> None:
    class Parent(Target):
        async def on_start(self) -> None:
            await self.context.spawn("kid", partial(Target, [], partial(trio.sleep, 4)))

    async with trio.open_nursery() as nursery, open_runtime(child("p", partial(Parent, []))) as runtime:
        parent = runtime.ref("p").instance
        assert isinstance(parent, Parent)

        async def interfere() -> None:
            await trio.sleep(2)
            with pytest.raises(RuntimeError, match="has ended"):
                parent.context.start_soon(trio.sleep_forever)

        nursery.start_soon(interfere)


@pytest.mark.parametrize("how", ["handler", "background"])
async def test_a_crashed_actor_that_cannot_end_is_reported_even_if_nobody_waits_for_it(
    how: str, autojump_clock: MockClock
) -> None:
    seen: list[Event] = []

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async with open_runtime(alone([])) as runtime:
        runtime.events.subscribe(seen.append)
        if how == "background":
            await TARGET.call(Target.beside, stubborn)
            await wait_all_tasks_blocked()
            with pytest.raises(ActorCrashed):
                await TARGET.call(Target.crash)
        else:
            await TARGET.call(Target.beside, fail_soon)
            TARGET.cast(Target.beside, trio.sleep_forever)
            TARGET.cast(Target.shielded_nap, 30)
        await trio.sleep(1 + STUCK_AFTER + 1)
        stuck, *_ = [event for event in seen if isinstance(event, ActorStuck)]
        assert stuck.actor == "app/t"
        assert "stubborn" in stuck.stack or "shielded_nap" in stuck.stack
        await trio.sleep(40)
        assert runtime.snapshot().children[0].life == "running"


async def test_the_report_of_an_end_names_the_message_in_work_and_no_earlier_one(
    autojump_clock: MockClock,
) -> None:
    named: list[str | None] = []
    async with open_runtime(alone([])) as runtime:
        runtime.events.subscribe(
            lambda event: named.append(event.message) if isinstance(event, ActorExited) else None
        )
        with pytest.raises(ActorCrashed):
            await TARGET.call(Target.crash)
        await TARGET.call(Target.beside, fail_soon)
        assert runtime.snapshot().children[0].handling is None
        await trio.sleep(2)
        assert named == ["crash", None]
        TARGET.cast(Target.nap, 9)
        await wait_all_tasks_blocked()
        assert runtime.snapshot().children[0].handling == "nap"


async def test_age_counts_from_the_end_while_an_actor_is_down(autojump_clock: MockClock) -> None:
    from resprout import TRANSIENT

    async with open_runtime(alone([], restart=TRANSIENT)) as runtime:
        await trio.sleep(100)
        assert runtime.snapshot().children[0].age == pytest.approx(100)
        TARGET.cast(Target.leave, Shutdown("done"))
        await trio.sleep(7)
        gone = runtime.snapshot().children[0]
        assert (gone.life, gone.last_exit) == ("stopped", "shutdown: done")
        assert gone.age == pytest.approx(7)


async def test_an_actor_that_never_had_mail_can_be_killed_struck_and_stopped(
    autojump_clock: MockClock,
) -> None:
    first, second, third = (Name(Silent, name) for name in ("first", "second", "third"))
    tree = supervisor("app", *(child(name.key, Silent, name=name) for name in (first, second, third)))
    exits: list[tuple[str, ExitReason]] = []

    def note(event: Event) -> None:
        if isinstance(event, ActorExited) and event.actor != "app":
            exits.append((event.actor, event.reason))

    async with open_runtime(tree) as runtime:
        runtime.events.subscribe(note)
        first._find().kill("by hand")
        second._find().strike(Crashed(RuntimeError("its peer is gone")))
        await wait_all_tasks_blocked()
        ends = {actor: type(reason) for actor, reason in exits}
        assert ends == {"app/first": Killed, "app/second": Crashed}
        answers = [await first.call(Silent.ping), await second.call(Silent.ping)]  # From their replacements.
        assert answers == ["pong", "pong"]
        exits.clear()
    assert [(actor, type(reason)) for actor, reason in exits] == [
        ("app/third", Shutdown),
        ("app/second", Shutdown),
        ("app/first", Shutdown),
    ]


class Silent(Actor):
    """Has no `on_start`, and nothing to do until it is asked."""

    async def ping(self) -> str:
        return "pong"
