"""State machines: what their events may ask for, when it happens, and what becomes of it in a crash."""

import math
from functools import partial
from typing import TypeAlias

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
    Down,
    Event,
    Name,
    Overflow,
    ReplyError,
    Signal,
    StartFailed,
    StashFull,
    StateMachine,
    UnknownMessageError,
    child,
    open_runtime,
    supervisor,
)


@attrs.frozen
class Locked:
    tries: int = 0


@attrs.frozen
class Unlocked:
    pass


State: TypeAlias = Locked | Unlocked


class WrongCode(ReplyError):
    pass


@attrs.define
class Door(StateMachine[State]):
    log: list[str]

    def initial(self) -> State:
        return Locked()

    async def on_enter(self, old: State, new: State) -> None:
        self.log.append(f"enter {type(new).__name__}" + (" first" if old is new else ""))
        if isinstance(new, Unlocked):
            self.state_timeout(10, Door.lock)

    async def press(self, code: str) -> str:
        match self.state:
            case Unlocked():
                return "open already"
            case Locked(tries=tries):
                if code == "1234":
                    self.become(Unlocked())
                    return f"open, {type(self.state).__name__} until this has returned"
                self.become(Locked(tries + 1))
                raise WrongCode(f"wrong for the {tries + 1}. time")

    async def walk_through(self, who: str) -> str:
        if not isinstance(self.state, Unlocked):
            self.postpone()
        self.log.append(who)
        return who

    async def lock(self) -> None:
        self.log.append("lock")
        self.become(Locked())

    async def hold(self, seconds: float) -> None:
        self.state_timeout(seconds, Door.lock)

    async def slam(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.become(Locked())

    async def note(self, what: str) -> None:
        self.log.append(what)

    async def insert(self) -> None:
        self.next_event(Door.note, "first")
        self.next_event(Door.note, "second")

    async def at_once(self) -> None:
        self.named_timeout("now", 0, Door.note, "no time")
        self.next_event(Door.note, "inserted")

    async def again(self) -> None:
        self.repeat_state()

    async def idle(self, seconds: float) -> None:
        self.event_timeout(seconds, Door.note, "idle")

    async def remind(self, seconds: float) -> None:
        self.named_timeout("reminder", seconds, Door.note, "reminder")

    async def forget(self) -> None:
        self.cancel_timeout("reminder")

    async def wrong_timeout(self) -> None:
        self.state_timeout(1, Door.note)  # type: ignore[call-arg] # the mistake

    async def negative(self) -> None:
        self.state_timeout(-1, Door.lock)

    async def crash(self) -> None:
        raise ValueError("boom")

    async def look(self) -> State:
        return self.state

    async def beside(self) -> None:
        self.context.start_soon(self._become)
        await trio.sleep(1)

    async def _become(self) -> None:
        self.become(Unlocked())

    async def on_signal(self, signal: Signal) -> None:
        self.next_event(Door.note, type(signal).__name__)

    async def watch(self) -> None:
        self.context.monitor(OTHER)


class Other(Actor):
    async def crash(self) -> None:
        raise ValueError("boom")


DOOR, OTHER = Name(Door, "door", timeout=60), Name(Other, "other")


def tree(log: list[str], start: type[Door] = Door, mailbox: int = 1_000) -> object:
    door = child("door", partial(start, log), name=DOOR, mailbox=mailbox)
    return supervisor("app", child("other", Other, name=OTHER), door)


async def test_the_new_state_takes_place_when_the_method_has_returned() -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        assert await DOOR.call(Door.press, "1234") == "open, Locked until this has returned"
        assert await DOOR.call(Door.look) == Unlocked()
        assert log == ["enter Locked first", "enter Unlocked"]


async def test_an_error_answer_is_an_answer_and_the_transition_takes_place() -> None:
    async with open_runtime(tree([])):
        for attempt in (1, 2):
            with pytest.raises(WrongCode, match=f"wrong for the {attempt}. time"):
                await DOOR.call(Door.press, "0000")
        assert await DOOR.call(Door.look) == Locked(2)


async def test_the_caller_is_answered_before_the_new_state_is_entered(autojump_clock: MockClock) -> None:
    class Slow(Door):
        async def on_enter(self, old: State, new: State) -> None:
            if isinstance(new, Unlocked):
                await trio.sleep(5)
                raise ValueError("stuck")

    exits: list[Event] = []
    async with open_runtime(tree([], Slow)) as runtime:
        runtime.events.subscribe(exits.append)
        assert (await DOOR.call(Door.press, "1234")).startswith("open")
        assert trio.current_time() == 0
        await trio.sleep(6)
        assert [exit.message for exit in exits if isinstance(exit, ActorExited)] == ["press"]
        assert await DOOR.call(Door.look) == Locked()  # A crash starts anew.


async def test_postponed_events_are_retried_after_a_change_oldest_first_before_waiting_ones(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    answers: list[str] = []
    async with open_runtime(tree(log)), trio.open_nursery() as nursery:

        async def walk() -> None:
            answers.append(await DOOR.call(Door.walk_through, "ann"))

        nursery.start_soon(walk)
        await wait_all_tasks_blocked()
        DOOR.cast(Door.walk_through, "bob")
        DOOR.cast(Door.again)  # No change.
        DOOR.cast(Door.press, "1234")
        DOOR.cast(Door.note, "waiting")
        await wait_all_tasks_blocked()
        assert log == ["enter Locked first", "enter Locked first", "enter Unlocked", "ann", "bob", "waiting"]
        assert answers == ["ann"]


async def test_a_postponed_call_that_expired_never_runs(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)) as runtime:
        with pytest.raises(CallTimeoutError):
            await DOOR.within(1).call(Door.walk_through, "ann")
        await DOOR.call(Door.press, "1234")
        await wait_all_tasks_blocked()
        assert "ann" not in log
        assert runtime.snapshot().children[1].waiting == 0


async def test_a_call_withdrawn_while_it_is_to_be_retried_does_not_stop_the_others(
    autojump_clock: MockClock,
) -> None:
    class Tired(Door):
        async def walk_through(self, who: str) -> str:
            if isinstance(self.state, Unlocked):
                await trio.sleep(1)
            return await super().walk_through(who)

    log: list[str] = []
    async with open_runtime(tree(log, Tired)) as runtime:
        DOOR.cast(Door.walk_through, "ann")
        await wait_all_tasks_blocked()
        with trio.move_on_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(DOOR.call, Door.walk_through, "bob")
                await wait_all_tasks_blocked()
                DOOR.cast(Door.walk_through, "cid")
                await trio.sleep(1.5)
                DOOR.cast(Door.press, "1234")
        await trio.sleep(4)
        assert log[2:] == ["ann", "cid"]
        assert runtime.snapshot().children[1].waiting == 0


async def test_one_may_become_another_state_and_postpone_the_event_into_it() -> None:
    class Polite(Door):
        async def walk_through(self, who: str) -> str:
            if isinstance(self.state, Locked):
                self.become(Unlocked())
                self.postpone()
            return await super().walk_through(who)

    log: list[str] = []
    async with open_runtime(tree(log, Polite)):
        assert await DOOR.call(Door.walk_through, "ann") == "ann"
        assert log == ["enter Locked first", "enter Unlocked", "ann"]


async def test_postponed_events_survive_a_crash_in_their_order() -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        for who in ("ann", "bob"):
            DOOR.cast(Door.walk_through, who)
        DOOR.cast(Door.crash)
        DOOR.cast(Door.press, "1234")
        await wait_all_tasks_blocked()
        assert log == ["enter Locked first"] * 2 + ["enter Unlocked", "ann", "bob"]


async def test_no_more_may_be_postponed_than_the_mailbox_holds(autojump_clock: MockClock) -> None:
    async with open_runtime(tree([], mailbox=2)):
        for who in ("ann", "bob"):
            DOOR.cast(Door.walk_through, who)
        await wait_all_tasks_blocked()
        with pytest.raises(ActorCrashed) as caught:
            await DOOR.call(Door.walk_through, "cid")
        assert isinstance(caught.value.cause, StashFull)


async def test_inserted_events_come_before_all_others_and_no_time_before_mail() -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        DOOR.cast(Door.at_once)
        DOOR.cast(Door.insert)
        DOOR.cast(Door.note, "waiting")
        await wait_all_tasks_blocked()
        assert log[1:] == ["inserted", "no time", "first", "second", "waiting"]


async def test_a_state_timeout_ends_with_its_state_even_if_it_waits_in_the_mailbox(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        await DOOR.call(Door.press, "1234")
        await trio.sleep(9)
        DOOR.cast(Door.slam, 5)  # It rings in between.
        await trio.sleep(30)
        assert log[2:] == ["enter Locked"]


@pytest.mark.parametrize(("seconds", "open_for"), [(3, 3), (20, 20), (math.inf, 60)])
async def test_a_state_timeout_set_again_starts_anew_and_infinity_cancels(
    seconds: float, open_for: float, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        await DOOR.call(Door.press, "1234")
        await DOOR.call(Door.hold, seconds)
        await trio.sleep(open_for - 0.5)
        assert "lock" not in log
        await trio.sleep(1)
        assert ("lock" in log) == (seconds != math.inf)


async def test_any_event_ends_the_event_timeout_and_none_but_its_own_end_a_named_one(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        await DOOR.call(Door.idle, 5)
        await DOOR.call(Door.remind, 5)
        await DOOR.call(Door.press, "1234")
        await trio.sleep(6)
        await DOOR.call(Door.remind, 5)
        await DOOR.call(Door.forget)
        await DOOR.call(Door.idle, 5)
        await trio.sleep(6)
        assert log[2:] == ["reminder", "lock", "enter Locked"]


async def test_a_notice_becomes_an_event_by_next_event(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        await DOOR.call(Door.watch)
        OTHER.cast(Other.crash)
        await trio.sleep(1)
        assert log[1:] == [Down.__name__]


async def test_wrong_arguments_are_refused_as_those_of_any_actor() -> None:
    async with open_runtime(tree([])):
        with pytest.raises(UnknownMessageError):
            await DOOR.call(Door.press)  # type: ignore[call-arg] # the mistake
        with pytest.raises(UnknownMessageError):
            await DOOR.call(Door.on_enter, Locked(), Locked())  # A hook is no event.
        assert await DOOR.call(Door.look) == Locked()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Door.wrong_timeout, "cannot handle note"),
        (Door.negative, "a timeout needs 0 seconds or more, not -1"),
        (Door.beside, "become is not possible in another task"),
    ],
)
async def test_a_mistake_crashes_the_actor_with_a_sentence(
    asked: object, said: str, autojump_clock: MockClock
) -> None:
    exits: list[Event] = []
    async with open_runtime(tree([])) as runtime:
        runtime.events.subscribe(exits.append)
        DOOR.cast(asked)  # type: ignore[arg-type] # any of these methods
        await trio.sleep(2)
        (reason,) = [exit.reason for exit in exits if isinstance(exit, ActorExited)]
        assert isinstance(reason, Crashed)
        assert said in str(reason.error)


@pytest.mark.parametrize(
    "what", ["become", "postpone", "repeat_state", "next_event", "then", "stash", "answer"]
)
async def test_a_state_that_is_entered_may_set_timeouts_and_no_more(what: str) -> None:
    class Eager(Door):
        async def on_enter(self, old: State, new: State) -> None:
            match what:
                case "become":
                    self.become(Unlocked())
                case "postpone":
                    self.postpone()
                case "repeat_state":
                    self.repeat_state()
                case "next_event":
                    self.next_event(Door.lock)
                case "then":
                    self.context.then(Door.note, "then")
                case "stash":
                    if isinstance(new, Unlocked):
                        self.context.stash()
                    raise WrongCode("the first time")
                case _:
                    raise WrongCode("nobody asked")

    with pytest.raises(StartFailed, match=r"in on_enter|on_enter cannot answer"):
        async with open_runtime(tree([], Eager)):
            pass


async def test_there_is_no_state_in_on_start_and_a_machine_needs_a_first_one() -> None:
    class Hasty(Door):
        async def on_start(self) -> None:
            with pytest.raises(RuntimeError, match=r"no state before initial\(\)"):
                self.log.append(str(self.state))
            with pytest.raises(RuntimeError, match="become is not possible in on_start"):
                self.become(Unlocked())
            self.named_timeout("later", 0, Door.note, "later")

    class Stateless(StateMachine[State]):
        pass

    log: list[str] = []
    async with open_runtime(tree(log, Hasty)):
        await wait_all_tasks_blocked()
        assert log == ["enter Locked first", "later"]
    with pytest.raises(StartFailed, match="define `def initial"):
        async with open_runtime(supervisor("app", child("none", Stateless))):
            pass


async def test_a_full_mailbox_that_drops_the_oldest_still_retries_what_was_postponed() -> None:
    log: list[str] = []
    door = child("door", partial(Door, log), name=DOOR, mailbox=2, overflow=Overflow.DROP_OLDEST)
    async with open_runtime(supervisor("app", door)):
        DOOR.cast(Door.walk_through, "ann")
        await wait_all_tasks_blocked()
        DOOR.cast(Door.press, "1234")
        DOOR.cast(Door.note, "1")
        await wait_all_tasks_blocked()
        assert log[2:] == ["ann", "1"]
