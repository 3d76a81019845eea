"""Messages put aside: in what order they come back, what becomes of their callers, where it is refused."""

from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    Actor,
    ActorCrashed,
    ActorExited,
    CallTimeoutError,
    Crashed,
    Event,
    ExitReason,
    Name,
    StashFull,
    Timer,
    child,
    open_runtime,
    supervisor,
)


@attrs.define
class Gate(Actor):
    """Puts visitors aside while it is shut."""

    log: list[str]
    open: bool = False
    timer: Timer | None = None

    async def visit(self, who: str) -> str:
        try:
            if not self.open:
                self.context.stash()
        except Exception:  # noqa: BLE001 - to show that a handler's own net does not catch it.
            self.log.append("caught")
        self.log.append(who)
        return f"welcome, {who}"

    async def visit_in_a_crowd(self, who: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            if not self.open:
                self.context.stash()
            nursery.cancel_scope.cancel()
        self.log.append(who)

    async def visit_and_fail(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)
            try:
                await trio.sleep_forever()
            finally:
                self.context.stash()

    async def _fail(self) -> None:
        raise OSError("stumbled")

    async def stash_in_the_crowd(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stash)

    async def _stash(self) -> None:
        self.context.stash()

    async def stash_beside(self) -> None:
        self.context.start_soon(self._stash)

    async def unlock(self) -> None:
        self.open = True
        self.context.unstash()

    async def unlock_beside(self, seconds: float) -> None:
        self.context.start_soon(self._unlock_later, seconds)

    async def _unlock_later(self, seconds: float) -> None:
        await trio.sleep(seconds)
        await self.unlock()

    async def mention(self, who: str) -> None:
        self.log.append(who)

    async def tick(self) -> None:
        if not self.open:
            self.context.stash()
        self.log.append("tick")

    async def tick_every(self, seconds: float) -> None:
        self.timer = self.context.every(seconds, Gate.tick)

    async def tick_no_more(self) -> None:
        assert self.timer is not None
        self.timer.cancel()

    async def busy(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def crash(self) -> None:
        raise ValueError("boom")


GATE = Name(Gate, "gate")


def tree(log: list[str], mailbox: int = 1_000, start: type[Gate] = Gate) -> object:
    return supervisor("app", child("gate", partial(start, log), name=GATE, mailbox=mailbox))


async def test_what_was_put_aside_comes_back_in_its_order_before_the_mail_that_waits() -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        for who in ("ann", "bob"):
            GATE.cast(Gate.visit, who)
        GATE.cast(Gate.visit_in_a_crowd, "cid")
        GATE.cast(Gate.unlock)
        GATE.cast(Gate.mention, "dan")
        await wait_all_tasks_blocked()
        assert log == ["ann", "bob", "cid", "dan"]


async def test_a_message_may_be_put_aside_again(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)) as runtime:
        GATE.cast(Gate.visit, "ann")
        await wait_all_tasks_blocked()
        gate = runtime.ref("app/gate").instance
        assert isinstance(gate, Gate)
        gate.context.unstash()
        await wait_all_tasks_blocked()
        assert (log, runtime.snapshot().children[0].waiting) == ([], 1)
        await GATE.call(Gate.unlock)
        assert log == ["ann"]


async def test_a_background_task_may_bring_the_messages_back_and_the_caller_gets_its_answer(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(tree([])):
        await GATE.call(Gate.unlock_beside, 3)
        assert await GATE.call(Gate.visit, "ann") == "welcome, ann"
        assert trio.current_time() == pytest.approx(3)


async def test_the_deadline_goes_on_and_an_expired_call_never_runs(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)) as runtime:
        with pytest.raises(CallTimeoutError) as caught:
            await GATE.within(2).call(Gate.visit, "ann")
        assert (caught.value.started, runtime.snapshot().children[0].waiting) == (False, 0)
        with trio.move_on_after(1):
            await GATE.call(Gate.visit, "bob")
        GATE.cast(Gate.visit, "cid")
        await GATE.call(Gate.unlock)
        await wait_all_tasks_blocked()
        assert (log, runtime.snapshot().children[0].waiting) == (["cid"], 0)


async def test_a_call_whose_caller_had_gone_is_not_kept(autojump_clock: MockClock) -> None:
    class Slow(Gate):
        async def visit(self, who: str) -> str:
            await trio.sleep(2)
            self.context.stash()

    async with open_runtime(tree([], start=Slow)) as runtime:
        with trio.move_on_after(1):
            await GATE.call(Gate.visit, "ann")
        await trio.sleep(5)
        assert runtime.snapshot().children[0].waiting == 0


async def test_one_more_than_the_mailbox_holds_crashes_the_actor_and_says_so(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    async with open_runtime(tree(log, mailbox=2)):
        for who in ("ann", "bob"):
            GATE.cast(Gate.visit_in_a_crowd, who)
            await wait_all_tasks_blocked()
        with pytest.raises(ActorCrashed) as caught:
            await GATE.call(Gate.tick)
        assert isinstance(caught.value.cause, StashFull)
        assert "2 messages" in str(caught.value)
        await GATE.call(Gate.unlock)
        await wait_all_tasks_blocked()
        assert log == ["ann", "bob"]


async def test_what_was_put_aside_survives_a_crash_and_comes_first(autojump_clock: MockClock) -> None:
    log: list[str] = []

    class Ajar(Gate):
        async def on_stop(self, reason: ExitReason) -> None:
            self.log.append("crashed")

        async def visit(self, who: str) -> str:
            if "crashed" not in self.log:
                self.context.stash()
            self.log.append(who)
            return who

    async with open_runtime(tree(log, start=Ajar)):
        answers: list[str] = []

        async def visit() -> None:
            answers.append(await GATE.call(Gate.visit, "bob"))

        async with trio.open_nursery() as nursery:
            GATE.cast(Gate.visit, "ann")
            await wait_all_tasks_blocked()
            nursery.start_soon(visit)
            await wait_all_tasks_blocked()
            GATE.cast(Gate.crash)
            GATE.cast(Gate.mention, "cid")
        await wait_all_tasks_blocked()
        assert (log, answers) == (["crashed", "ann", "bob", "cid"], ["bob"])


@pytest.mark.parametrize("end", [Gate.tick_no_more, Gate.crash])
async def test_a_beat_put_aside_dies_with_its_timer_and_its_incarnation(
    end: Callable[[Gate], Awaitable[None]], autojump_clock: MockClock
) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)) as runtime:
        await GATE.call(Gate.tick_every, 1)
        await trio.sleep(3.5)
        assert runtime.snapshot().children[0].waiting == 1  # Not one for each second.
        GATE.cast(end)
        await wait_all_tasks_blocked()
        await GATE.call(Gate.unlock)
        await trio.sleep(5)
        assert (log, runtime.snapshot().children[0].waiting) == ([], 0)


async def test_a_failure_besides_the_stash_is_a_crash_of_this_actor_alone() -> None:
    async with open_runtime(tree([])):
        with pytest.raises(ActorCrashed) as caught:
            await GATE.call(Gate.visit_and_fail)
        assert isinstance(caught.value.cause, ExceptionGroup)
        assert isinstance(caught.value.cause.exceptions[0], OSError)
        await GATE.call(Gate.mention, "lives")


@pytest.mark.parametrize("where", [Gate.stash_in_the_crowd, Gate.stash_beside])
async def test_stash_is_refused_in_any_task_but_the_actors_own(
    where: Callable[[Gate], Awaitable[None]],
) -> None:
    log: list[str] = []
    exits: list[Event] = []
    async with open_runtime(tree(log)) as runtime:
        runtime.events.subscribe(exits.append)
        GATE.cast(where)
        await wait_all_tasks_blocked()
        (reason,) = [exit.reason for exit in exits if isinstance(exit, ActorExited)]
        assert isinstance(reason, Crashed)
        assert "is not at work on a message here; call stash() in the message's own method" in repr(
            reason.error
        )


async def test_stash_is_refused_before_the_first_message_and_after_the_last() -> None:
    refused: list[str] = []

    class Hooked(Gate):
        def refuse(self) -> None:
            with pytest.raises(RuntimeError, match="is not at work on a message here"):
                self.context.stash()
            refused.append("refused")

        async def on_start(self) -> None:
            self.refuse()

        async def on_stop(self, reason: ExitReason) -> None:
            self.refuse()

    async with open_runtime(tree([], start=Hooked)):
        pass
    assert refused == ["refused"] * 2


async def test_the_exception_of_a_stash_kept_and_raised_elsewhere_is_no_end_of_the_process() -> None:
    class Keeper(Gate):
        kept: BaseException

        async def visit(self, who: str) -> str:
            try:
                self.context.stash()
            except BaseException as raised:  # noqa: BLE001 - the mistake that is shown here.
                Keeper.kept = raised
            return who

        async def on_stop(self, reason: ExitReason) -> None:
            raise self.kept

    async with open_runtime(tree([], start=Keeper)):
        await GATE.call(Gate.visit, "ann")


async def test_a_stop_for_good_makes_dead_letters_of_what_is_put_aside(autojump_clock: MockClock) -> None:
    async with open_runtime(tree([])) as runtime:
        GATE.cast(Gate.visit, "ann")
        await wait_all_tasks_blocked()
    assert [str(letter.message) for letter in runtime.dead_letters] == ["visit"]
