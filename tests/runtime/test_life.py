"""An actor's life: hooks, background tasks, timers, children, monitors, links, ends."""

import weakref
from contextlib import suppress
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
    Crashed,
    Down,
    Event,
    ExitReason,
    Killed,
    LinkedExit,
    Name,
    Normal,
    Ref,
    ReplyError,
    Shutdown,
    Signal,
    StartFailed,
    StartTimeout,
    child,
    open_runtime,
    supervisor,
)

Log = list[str]


@attrs.define
class Probe(Actor):
    """Writes down what happens to it."""

    log: Log
    start_takes: float = 0.0
    stop_takes: float = 0.0
    told: str = "probe"

    async def on_start(self) -> None:
        await trio.sleep(self.start_takes)
        self.log.append(f"{self.told} started")

    async def on_stop(self, reason: ExitReason) -> None:
        self.log.append(f"{self.told} stopping")
        await trio.sleep(self.stop_takes)
        self.log.append(f"{self.told} stopped: {type(reason).__name__}")

    async def on_signal(self, signal: Signal) -> None:
        match signal:
            case Down(ref=ref, reason=reason):
                self.log.append(f"{ref.path} down: {type(reason).__name__}")
            case _:
                await super().on_signal(signal)

    async def crash(self) -> None:
        raise ValueError("boom")

    async def finish(self) -> None:
        self.context.stop(Normal())

    async def run_beside(self, fail: bool) -> None:
        self.context.start_soon(self._beside, fail)

    async def _beside(self, fail: bool) -> None:
        try:
            await trio.sleep(1)
            if fail:
                raise OSError("beside")
            await trio.sleep_forever()
        finally:
            self.log.append("beside over")

    async def tick(self) -> None:
        self.log.append(f"tick {trio.current_time() - self.context.cell.since:g}")

    async def tick_every(self, seconds: float) -> None:
        self.context.every(seconds, Probe.tick)

    async def tick_after(self, seconds: float) -> None:
        self.context.after(seconds, Probe.tick)

    async def watch(self, ref: Ref["Probe"]) -> None:
        self.context.monitor(ref)

    async def tie(self, ref: Ref["Probe"]) -> None:
        self.context.link(ref)

    async def bear(self, id: str) -> str:
        return (await self.context.spawn(id, partial(Probe, self.log, told=id))).path

    async def stubborn(self, seconds: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)


A, B = Name(Probe, "a"), Name(Probe, "b")


def two(log: Log, **options: object) -> object:
    first = child("a", partial(Probe, log, told="a"), name=A, **options)  # type: ignore[arg-type] # test helper
    return supervisor("app", first, child("b", partial(Probe, log, told="b"), name=B))


async def test_children_start_in_order_and_stop_in_reverse() -> None:
    log: Log = []
    async with open_runtime(two(log)):
        assert log == ["a started", "b started"]
        log.clear()
    assert log == ["b stopping", "b stopped: Shutdown", "a stopping", "a stopped: Shutdown"]


async def test_on_stop_runs_after_a_crash_too_and_the_next_incarnation_is_fresh() -> None:
    log: Log = []
    async with open_runtime(two(log)):
        log.clear()
        with pytest.raises(ActorCrashed):
            await A.call(Probe.crash)
        await wait_all_tasks_blocked()
        assert log == ["a stopping", "a stopped: Crashed", "a started"]


async def test_a_child_that_does_not_stop_in_time_is_cancelled(autojump_clock: MockClock) -> None:
    log: Log = []
    exits: list[Event] = []
    late = child("a", partial(Probe, log, stop_takes=60), shutdown=2)
    async with open_runtime(supervisor("app", late)) as runtime:
        runtime.events.subscribe(exits.append)
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(2)
    assert log == ["probe started", "probe stopping"]
    assert [type(e.reason) for e in exits if isinstance(e, ActorExited)] == [Killed, Shutdown]


async def test_a_brutal_kill_runs_no_cleanup() -> None:
    log: Log = []
    async with open_runtime(supervisor("app", child("a", partial(Probe, log), shutdown=BRUTAL_KILL))):
        pass
    assert log == ["probe started"]


async def test_an_actor_that_shields_itself_is_reported_with_its_stack_and_still_awaited(
    autojump_clock: MockClock,
) -> None:
    log: Log = []
    seen: list[Event] = []
    async with open_runtime(two(log, shutdown=1)) as runtime:
        runtime.events.subscribe(seen.append)
        A.cast(Probe.stubborn, 20)
        await wait_all_tasks_blocked()
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(20)
    stuck = [event for event in seen if type(event).__name__ == "ActorStuck"]
    assert {event.actor for event in stuck} == {"app/a"}
    assert "in stubborn" in stuck[0].stack  # type: ignore[attr-defined] # ActorStuck


async def test_a_failed_start_stops_what_had_started_and_leaves_nothing() -> None:
    log: Log = []

    class Broken(Actor):
        async def on_start(self) -> None:
            raise OSError("no licence")

    tree = supervisor(
        "app", child("a", partial(Probe, log)), child("b", Broken), child("c", partial(Probe, log))
    )
    with pytest.raises(StartFailed, match="no licence"):
        async with open_runtime(tree):
            raise AssertionError("it must not start")
    assert log == ["probe started", "probe stopping", "probe stopped: Shutdown"]


async def test_a_start_that_takes_too_long_is_given_up(autojump_clock: MockClock) -> None:
    slow = child("slow", partial(Probe, [], start_takes=100), start_timeout=3)
    before = trio.current_time()
    with pytest.raises(StartFailed) as caught:
        async with open_runtime(supervisor("app", slow)):
            raise AssertionError("it must not start")
    assert trio.current_time() - before == pytest.approx(3)
    leaf = caught.value.__cause__.__cause__  # type: ignore[union-attr] # app failed because app/slow did
    assert isinstance(leaf, StartTimeout)


async def test_cancelling_the_block_stops_the_tree_in_order_first(autojump_clock: MockClock) -> None:
    log: Log = []
    with trio.move_on_after(1) as scope:
        async with open_runtime(two(log, shutdown=9)):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log[-4:] == ["b stopping", "b stopped: Shutdown", "a stopping", "a stopped: Shutdown"]


async def test_cancelling_during_the_start_stops_what_had_started(autojump_clock: MockClock) -> None:
    log: Log = []
    tree = supervisor("app", child("a", partial(Probe, log)), child("b", partial(Probe, log, start_takes=50)))
    with trio.move_on_after(1) as scope:
        async with open_runtime(tree):
            raise AssertionError("it must not start")
    assert scope.cancelled_caught
    assert log == ["probe started", "probe stopping", "probe stopped: Shutdown"]


async def test_an_error_in_the_block_comes_out_bare_after_the_tree_has_stopped() -> None:
    log: Log = []
    with pytest.raises(ZeroDivisionError):
        async with open_runtime(two(log)):
            raise ZeroDivisionError
    assert log[-1] == "a stopped: Shutdown"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_interrupts_inside_an_actor_stop_the_tree_and_come_out(error: type[BaseException]) -> None:
    log: Log = []

    class Fatal(Actor):
        async def go(self) -> None:
            raise error

    fatal = Name(Fatal, "fatal")
    with pytest.raises(error):
        async with open_runtime(
            supervisor("app", child("a", partial(Probe, log)), child("f", Fatal, name=fatal))
        ) as run:
            fatal.cast(Fatal.go)
            await run.wait()
    assert log == ["probe started", "probe stopping", "probe stopped: Shutdown"]


async def test_a_background_task_that_fails_crashes_its_actor(autojump_clock: MockClock) -> None:
    log: Log = []
    async with open_runtime(two(log)) as runtime:
        await A.call(Probe.run_beside, True)
        log.clear()
        await trio.sleep(2)
        assert log == ["beside over", "a stopping", "a stopped: Crashed", "a started"]
        assert runtime.ref("app/a").path == "app/a"


async def test_background_tasks_end_with_their_incarnation(autojump_clock: MockClock) -> None:
    log: Log = []
    async with open_runtime(two(log)) as runtime:
        await A.call(Probe.run_beside, False)
        await wait_all_tasks_blocked()
        with pytest.raises(ActorCrashed):
            await A.call(Probe.crash)
        await wait_all_tasks_blocked()
        assert log.count("beside over") == 1
        assert runtime.snapshot().children[0].tasks == 0


async def test_timers_beat_without_drift_and_die_with_the_incarnation(autojump_clock: MockClock) -> None:
    log: Log = []
    async with open_runtime(two(log)):
        await A.call(Probe.tick_every, 2)
        await A.call(Probe.tick_after, 3)
        log.clear()
        await trio.sleep(7)
        assert log == ["tick 2", "tick 3", "tick 4", "tick 6"]
        with pytest.raises(ActorCrashed):
            await A.call(Probe.crash)
        await wait_all_tasks_blocked()
        log.clear()
        await trio.sleep(10)
        assert log == []


async def test_a_slow_actor_never_has_two_beats_of_a_timer_waiting(autojump_clock: MockClock) -> None:
    log: Log = []
    async with open_runtime(two(log)) as runtime:
        await A.call(Probe.tick_every, 1)
        A.cast(Probe.stubborn, 50)
        await trio.sleep(49)
        assert runtime.snapshot().children[0].waiting == 1


async def test_a_monitor_tells_once_and_an_ended_actor_at_once() -> None:
    log: Log = []
    async with open_runtime(two(log)) as runtime:
        target: Ref[Probe] = runtime.ref("app/b")  # type: ignore[assignment] # found by path, so untyped
        await A.call(Probe.watch, target)
        for _ in range(2):
            with pytest.raises(ActorCrashed):
                await B.call(Probe.crash)
        await wait_all_tasks_blocked()
        assert log.count("app/b down: Crashed") == 1


async def test_linked_actors_crash_together() -> None:
    log: Log = []
    reasons: list[ExitReason] = []
    async with open_runtime(two(log)) as runtime:
        runtime.events.subscribe(lambda e: reasons.append(e.reason) if isinstance(e, ActorExited) else None)
        target: Ref[Probe] = runtime.ref("app/b")  # type: ignore[assignment] # found by path, so untyped
        await A.call(Probe.tie, target)
        with pytest.raises(ActorCrashed):
            await B.call(Probe.crash)
        await wait_all_tasks_blocked()
        causes = [reason.error for reason in reasons if isinstance(reason, Crashed)]
        assert {type(cause) for cause in causes} == {ValueError, LinkedExit}
        assert log.count("a started") == 2


async def test_spawned_children_end_with_their_parent_and_their_crash_is_its_crash() -> None:
    log: Log = []
    async with open_runtime(two(log)) as runtime:
        path = await A.call(Probe.bear, "kid")
        kid: Ref[Probe] = runtime.ref(path)  # type: ignore[assignment] # found by path, so untyped
        log.clear()
        with pytest.raises(ActorCrashed):
            await kid.call(Probe.crash)
        await wait_all_tasks_blocked()
        assert log == [
            "kid stopping",
            "kid stopped: Crashed",
            "a stopping",
            "a stopped: Crashed",
            "a started",
        ]
        assert await A.call(Probe.bear, "kid") == "app/a/kid"


async def test_handlers_that_swallow_cancellation_cannot_outlive_the_reason_they_were_given() -> None:
    reasons: list[ExitReason] = []

    class Swallower(Actor):
        async def hang(self) -> None:
            with suppress(trio.Cancelled):  # Wrong on purpose.
                await trio.sleep_forever()

    hang = Name(Swallower, "hang")
    async with open_runtime(
        supervisor("app", child("h", Swallower, name=hang, shutdown=BRUTAL_KILL))
    ) as runtime:
        runtime.events.subscribe(lambda e: reasons.append(e.reason) if isinstance(e, ActorExited) else None)
        hang.cast(Swallower.hang)
        await wait_all_tasks_blocked()
    assert isinstance(reasons[0], Killed)


async def test_crash_reasons_keep_all_leaves_of_a_group() -> None:
    class Many(Actor):
        async def fail(self) -> None:
            raise ExceptionGroup("both", [ValueError("one"), OSError("two")])

    many = Name(Many, "many")
    async with open_runtime(supervisor("app", child("m", Many, name=many))):
        with pytest.raises(ActorCrashed) as caught:
            await many.call(Many.fail)
        cause = caught.value.cause
        assert isinstance(cause, ExceptionGroup)
        assert [str(leaf) for leaf in cause.exceptions] == ["one", "two"]


def test_a_reply_error_is_an_exception_of_ours() -> None:
    assert issubclass(ReplyError, Exception)


@attrs.define(eq=False)
class Load:
    """Something that can be seen to be gone."""


@pytest.mark.parametrize("end", ["answer", "refusal", "notice"])
async def test_an_idle_actor_keeps_neither_its_last_message_nor_its_result_alive(end: str) -> None:
    class Echo(Actor):
        async def echo(self, load: Load) -> Load:
            if end == "refusal":
                raise ReplyError("no")
            return load

        async def on_signal(self, signal: Signal) -> None:
            pass

    @attrs.frozen(kw_only=True)
    class Notice(Signal):
        load: Load

    async with open_runtime(child("echo", Echo)) as runtime:
        load = Load()
        gone = weakref.ref(load)
        ref = runtime.ref("echo")
        if end == "notice":
            ref._find().mailbox.signal(Notice(load=load))
        else:
            with suppress(ReplyError):
                await ref.call(Echo.echo, load)  # type: ignore[arg-type] # found by path, so of any class
        del load
        await wait_all_tasks_blocked()
        assert gone() is None
