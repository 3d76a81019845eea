"""What goes wrong in one place stays there: nothing but an order ends the runtime or a neighbour."""

from collections.abc import Callable, Mapping
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    Actor,
    ActorCrashed,
    ActorExited,
    AlarmFailed,
    CallTimeoutError,
    Crashed,
    Down,
    Event,
    ExitReason,
    Name,
    Normal,
    Ref,
    Signal,
    StartFailed,
    TreeError,
    UnknownMessageError,
    child,
    open_runtime,
    supervisor,
)
from resprout.supervisors import Supervisor


class HostileError(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class MoreHostileError(Exception):
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    def __str__(self) -> str:
        return "harmless"


class HostileArgument:
    def __repr__(self) -> str:
        raise ZeroDivisionError


class Outlaw(BaseException):
    """Neither an Exception nor anything trio or Python know."""


@attrs.define
class Neighbour(Actor):
    async def ping(self) -> str:
        return "pong"


@attrs.define
class Rogue(Actor):
    end: Callable[[], object] | None = None

    async def on_stop(self, reason: ExitReason) -> None:
        if self.end is not None:
            self.end()

    async def fail(self, error: BaseException) -> None:
        raise error

    async def fail_beside(self, error: BaseException) -> None:
        self.context.start_soon(self._fail, error)

    async def _fail(self, error: BaseException) -> None:
        raise error

    async def fail_in_a_nursery(self, error: BaseException) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail, error)
            nursery.start_soon(trio.sleep_forever)

    async def offer(self, face: object) -> None:
        self.context.offer(face)

    async def ping(self) -> str:
        return "pong"


NEIGHBOUR, ROGUE = Name(Neighbour, "neighbour"), Name(Rogue, "rogue")


def tree(end: Callable[[], object] | None = None) -> object:
    return supervisor(
        "app", child("n", Neighbour, name=NEIGHBOUR), child("r", partial(Rogue, end), name=ROGUE), intensity=9
    )


@pytest.mark.parametrize("kind", [HostileError, MoreHostileError])
async def test_an_error_that_cannot_be_printed_is_a_crash_like_any_other(kind: type[Exception]) -> None:
    seen: list[str] = []
    async with open_runtime(tree()) as runtime:
        runtime.events.subscribe(lambda event: seen.append(str(event)))
        with pytest.raises(ActorCrashed, match="HostileError, which cannot be printed") as caught:
            await ROGUE.call(Rogue.fail, kind())
        assert isinstance(caught.value.cause.__cause__, kind)
        await ROGUE.call(Rogue.fail_beside, kind())
        await wait_all_tasks_blocked()
        assert await ROGUE.call(Rogue.ping) == "pong"
        assert runtime.snapshot().children[1].restarts == 2
        assert kind.__name__ in (runtime.snapshot().children[1].last_exit or "")
        assert not runtime.events.broken


async def test_arguments_that_cannot_be_printed_are_the_senders_mistake_only() -> None:
    async with open_runtime(tree()) as runtime:
        with pytest.raises(UnknownMessageError, match="ping"):
            await ROGUE.call(Rogue.ping, HostileArgument())  # type: ignore[call-arg] # wrong on purpose
        ROGUE.cast(Rogue.ping, HostileArgument())  # type: ignore[call-arg] # wrong on purpose
        assert await ROGUE.call(Rogue.ping) == "pong"
        assert runtime.snapshot().children[1].restarts == 0


async def test_a_subscriber_that_raises_harms_nobody() -> None:
    def fall_over(event: Event) -> None:
        raise ValueError("observer")

    async with open_runtime(tree()) as runtime:
        runtime.events.subscribe(fall_over)
        with pytest.raises(ActorCrashed):
            await ROGUE.call(Rogue.fail, OSError())
        assert await ROGUE.call(Rogue.ping) == "pong"
        assert len(runtime.events.broken) == 1


async def test_a_subscriber_that_meddles_with_what_it_sees_end_harms_nobody() -> None:
    async with open_runtime(tree()) as runtime:

        def meddle(event: Event) -> None:
            if isinstance(event, ActorExited) and isinstance(event.reason, Crashed):
                cell = runtime.ref(event.actor)._find()
                cell.kill("meddling")
                ROGUE.cast(Rogue.ping)

        runtime.events.subscribe(meddle)
        with pytest.raises(ActorCrashed):
            await ROGUE.call(Rogue.fail, OSError())
        await wait_all_tasks_blocked()
        assert await ROGUE.call(Rogue.ping) == "pong"
        assert await NEIGHBOUR.call(Neighbour.ping) == "pong"


async def test_an_offer_that_cannot_describe_itself_does_not_hide_the_tree() -> None:
    class Mute:
        def describe(self) -> Mapping[str, str]:
            raise ValueError("no words")

    async with open_runtime(tree()) as runtime:
        await ROGUE.call(Rogue.offer, Mute())
        assert runtime.snapshot().children[1].facts == {"error": "describe() raised ValueError"}


async def test_a_mistake_in_a_supervisor_is_that_supervisors_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = supervisor("shelf", child("r", Rogue, name=ROGUE))
    async with open_runtime(supervisor("app", child("n", Neighbour, name=NEIGHBOUR), shelf)) as runtime:
        decide = Supervisor.child_ended

        def slip(self: Supervisor, *args: object) -> object:
            return 1 // 0 if self.context.path == "app/shelf" else decide(self, *args)  # type: ignore[arg-type] # as given

        with monkeypatch.context() as patch:
            patch.setattr(Supervisor, "child_ended", slip)
            with pytest.raises(ActorCrashed):
                await ROGUE.call(Rogue.fail, OSError())
            await wait_all_tasks_blocked()
        assert await ROGUE.call(Rogue.ping) == "pong"
        assert await NEIGHBOUR.call(Neighbour.ping) == "pong"
        shelf_now = runtime.snapshot().children[1]
        assert (shelf_now.restarts, shelf_now.last_exit) == (
            1,
            "crashed: ZeroDivisionError: integer division or modulo by zero",
        )


async def test_an_alarm_that_raises_ends_the_runtime_in_order_and_not_in_a_heap() -> None:
    stopped: list[str] = []
    with pytest.raises(ZeroDivisionError):
        async with open_runtime(tree(lambda: stopped.append("in order"))) as runtime:
            runtime.clock.at(trio.current_time(), lambda: [][1 // 0])
            await runtime.wait()
    assert stopped == ["in order"]


async def test_an_alarm_that_raises_is_the_crash_of_the_actor_it_rings_for_and_of_nobody_else() -> None:
    seen: list[Event] = []
    async with open_runtime(tree()) as runtime:
        runtime.events.subscribe(seen.append)
        runtime.clock.at(trio.current_time(), lambda: [][1 // 0], ROGUE._find())
        await wait_all_tasks_blocked()
        assert await ROGUE.call(Rogue.ping) == "pong"
        assert await NEIGHBOUR.call(Neighbour.ping) == "pong"
        assert {place.restarts for place in runtime.snapshot().children} == {0, 1}
    assert [event.actor for event in seen if isinstance(event, AlarmFailed)] == ["app/r"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), Outlaw()])
@pytest.mark.parametrize("place", ["handler", "on_stop", "beside", "nursery", "on_start"])
async def test_what_is_fatal_stops_the_tree_in_order_and_comes_out_bare(
    error: BaseException, place: str
) -> None:
    log: list[str] = []

    class Orderly(Actor):
        async def on_stop(self, reason: ExitReason) -> None:
            await trio.lowlevel.checkpoint()
            log.append("stopped in order")

    @attrs.define
    class Fatal(Rogue):
        async def on_start(self) -> None:
            if place == "on_start":
                raise error

        async def on_stop(self, reason: ExitReason) -> None:
            if place == "on_stop":
                raise error

    fatal = Name(Fatal, "fatal")
    app = supervisor("app", child("o", Orderly), child("f", Fatal, name=fatal))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - compared below
        async with open_runtime(app) as runtime:
            match place:
                case "on_stop":
                    await runtime.stop()
                case "handler":
                    fatal.cast(Rogue.fail, error)
                case "beside":
                    fatal.cast(Rogue.fail_beside, error)
                case "nursery":
                    fatal.cast(Rogue.fail_in_a_nursery, error)
            await runtime.wait()
    came_out = caught.value
    if place == "nursery" and isinstance(error, Outlaw):  # What is in a group stays in it, but for exits.
        assert isinstance(came_out, BaseExceptionGroup)
        (came_out,) = came_out.exceptions
    assert came_out is error
    assert log == ["stopped in order"]


async def test_an_exit_asked_for_inside_wins_over_what_the_block_makes_of_it() -> None:
    with pytest.raises(SystemExit) as caught:
        async with open_runtime(tree()):
            await ROGUE.call(Rogue.fail, SystemExit(7))
    assert caught.value.code == 7


async def test_an_actor_that_watches_a_dead_one_again_and_again_does_not_starve_the_others(
    autojump_clock: MockClock,
) -> None:
    class Widow(Actor):
        rounds = 0
        gone: Ref[Actor]

        async def on_start(self) -> None:
            self.gone = await self.context.spawn("gone", Actor)
            self.gone._find().leave(Normal())
            self.context.monitor(self.gone)

        async def on_signal(self, signal: Signal) -> None:
            self.rounds += 1
            if isinstance(signal, Down) and self.rounds < 100_000:
                self.context.monitor(signal.ref)

    rounds: list[int] = []

    async def bystander(widow: Widow) -> None:
        for _ in range(10):
            await trio.lowlevel.checkpoint()
            rounds.append(widow.rounds)

    async with open_runtime(supervisor("app", child("w", Widow))) as runtime, trio.open_nursery() as nursery:
        widow = runtime.ref("app/w").instance
        assert isinstance(widow, Widow)
        nursery.start_soon(bystander, widow)
        await wait_all_tasks_blocked()
        assert widow.rounds == 100_000
    assert rounds[-1] < 1_000


async def test_a_tree_that_is_none_is_refused_with_the_fix() -> None:
    with pytest.raises(TreeError, match=r"wrap it in supervisor\(…\) or child\(…\)"):
        async with open_runtime(Neighbour):  # type: ignore[arg-type] # wrong on purpose
            raise AssertionError("it must not start")


async def test_stopping_the_runtime_from_inside_does_not_wait_for_itself(autojump_clock: MockClock) -> None:
    class Leaver(Actor):
        async def leave(self, stop: Callable[[], object]) -> str:
            await stop()  # type: ignore[misc] # an async function
            return "gave the order"

        async def leave_from_a_nursery(self, stop: Callable[[], object]) -> str:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop)  # type: ignore[arg-type] # an async function
            return "gave the order"

    leaver = Name(Leaver, "leaver")
    for way in (Leaver.leave, Leaver.leave_from_a_nursery):
        before = trio.current_time()
        async with open_runtime(supervisor("app", child("l", Leaver, name=leaver))) as runtime:
            assert await leaver.call(way, runtime.stop) == "gave the order"
            await runtime.wait()
            assert not runtime.gave_up
        assert trio.current_time() == before


async def test_a_name_that_was_taken_meanwhile_fails_the_start_and_not_the_engine() -> None:
    other = Name(Neighbour, "other")
    app = supervisor("app", child("a", Neighbour, name=other), child("b", Neighbour))
    async with open_runtime(app) as runtime:
        root = runtime.root
        assert root is not None
        await root.children["a"].terminate(final=True)
        runtime.registry.register("other", root.children["b"])
        with pytest.raises(StartFailed, match="app/b holds it"):
            await root.children["a"].start()
        await root.children["a"].terminate()
        runtime.registry.release("other", root.children["b"])
        await root.children["a"].start()
        assert await other.call(Neighbour.ping) == "pong"


async def test_a_caller_of_an_actor_that_never_answers_is_freed_by_its_deadline_even_then(
    autojump_clock: MockClock,
) -> None:
    class Deaf(Actor):
        async def never(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

    deaf = Name(Deaf, "deaf")
    async with open_runtime(supervisor("app", child("d", Deaf, name=deaf))) as runtime:
        with pytest.raises(CallTimeoutError):
            await deaf.call(Deaf.never)
        runtime.abort()
