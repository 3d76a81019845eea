"""What runs right after the callback that asked for it, before all that waits."""

from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    Actor,
    ActorExited,
    Crashed,
    Down,
    Event,
    ExitReason,
    Name,
    ReplyError,
    Signal,
    UnknownMessageError,
    child,
    open_runtime,
    supervisor,
)


@attrs.define
class Loader(Actor):
    log: list[str]

    async def on_start(self) -> None:
        self.context.then(Loader.note, "after the start")

    async def on_signal(self, signal: Signal) -> None:
        self.log.append(type(signal).__name__)
        self.context.then(Loader.note, "after the signal")

    async def note(self, what: str, *more: str) -> None:
        self.log.append(what)
        if more:
            self.context.then(Loader.note, *more)

    async def begin(self) -> str:
        self.context.then(Loader.note, "one", "below one", "at the bottom")
        self.context.then(Loader.note, "two")
        self.log.append("begun")
        return "answered"

    async def busy(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def refuse(self) -> None:
        raise ReplyError("no")

    async def then_refuse(self) -> None:
        self.context.then(Loader.refuse)

    async def then_wrong(self) -> None:
        self.context.then(Loader.note)  # type: ignore[call-arg] # the mistake

    async def then_crash(self) -> None:
        self.context.then(Loader.note, "never")
        raise ValueError("boom")

    async def then_stop(self) -> None:
        self.context.stop()
        self.context.then(Loader.note, "never")

    async def turn_for_ever(self) -> None:
        self.context.then(Loader.turn_for_ever)

    async def put_off(self) -> None:
        self.context.then(Loader.wait_for_one)

    async def wait_for_one(self) -> None:
        if "one" not in self.log:
            self.context.stash()
        self.log.append("waited for")

    async def watch(self) -> None:
        self.context.monitor(OTHER)
        self.context.then(Loader.note, "first")

    async def then_beside(self) -> None:
        self.context.start_soon(self._then)

    async def _then(self) -> None:
        self.context.then(Loader.note, "never")


class Other(Actor):
    async def stop(self) -> None:
        self.context.stop()


LOADER, OTHER = Name(Loader, "loader"), Name(Other, "other")


def tree(log: list[str]) -> object:
    return supervisor(
        "app", child("other", Other, name=OTHER), child("loader", partial(Loader, log), name=LOADER)
    )


async def test_it_runs_after_the_start_and_before_any_mail() -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        LOADER.cast(Loader.note, "mail")
        await wait_all_tasks_blocked()
        assert log == ["after the start", "mail"]


async def test_several_run_in_their_order_and_a_chain_stays_together() -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        LOADER.cast(Loader.begin)
        LOADER.cast(Loader.note, "mail")
        await wait_all_tasks_blocked()
        assert log[1:] == ["begun", "one", "below one", "at the bottom", "two", "mail"]


async def test_it_comes_before_signals_too(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        await OTHER.call(Other.stop)
        await LOADER.call(Loader.watch)
        await OTHER.call(Other.stop)
        await trio.sleep(1)
        assert log[1:] == ["first", Down.__name__, "after the signal"]


async def test_an_answer_to_nobody_is_reported_like_that_of_a_cast() -> None:
    log: list[str] = []
    failed: list[Event] = []
    async with open_runtime(tree(log)) as runtime:
        runtime.events.subscribe(failed.append)
        LOADER.cast(Loader.then_refuse)
        await LOADER.call(Loader.note, "lives")
    assert [type(event).__name__ for event in failed][:1] == ["CastFailed"]


async def test_one_that_cannot_run_crashes_the_actor() -> None:
    exits: list[Event] = []
    async with open_runtime(tree([])) as runtime:
        runtime.events.subscribe(exits.append)
        LOADER.cast(Loader.then_wrong)
        await wait_all_tasks_blocked()
        (exit,) = [event for event in exits if isinstance(event, ActorExited)]
        assert isinstance(exit.reason, Crashed)
        assert isinstance(exit.reason.error, UnknownMessageError)


@pytest.mark.parametrize("end", [Loader.then_crash, Loader.then_stop])
async def test_it_dies_with_the_incarnation(end: object) -> None:
    log: list[str] = []
    async with open_runtime(tree(log)):
        LOADER.cast(end)  # type: ignore[arg-type] # either method
        await wait_all_tasks_blocked()
        assert log == ["after the start", "after the start"]


async def test_an_endless_chain_lets_others_run_and_does_not_hold_up_a_stop(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(tree([])):
        LOADER.cast(Loader.turn_for_ever)
        await OTHER.call(Other.stop)
    assert trio.current_time() == 0


async def test_it_may_be_put_aside_and_comes_back_as_mail() -> None:
    log: list[str] = []
    async with open_runtime(tree(log)) as runtime:
        LOADER.cast(Loader.put_off)
        LOADER.cast(Loader.note, "one")
        await wait_all_tasks_blocked()
        loader = runtime.ref("app/loader").instance
        assert isinstance(loader, Loader)
        loader.context.unstash()
        await wait_all_tasks_blocked()
        assert log[1:] == ["one", "waited for"]


async def test_it_is_refused_in_other_tasks_and_in_on_stop() -> None:
    class Late(Loader):
        async def on_stop(self, reason: ExitReason) -> None:
            with pytest.raises(RuntimeError, match=r"then\(\) belongs into a method or hook"):
                self.context.then(Loader.note, "never")
            self.log.append(repr(getattr(reason, "error", reason)))

    log: list[str] = []
    async with open_runtime(supervisor("app", child("loader", partial(Late, log), name=LOADER))):
        LOADER.cast(Loader.then_beside)
        await wait_all_tasks_blocked()
    assert "then() belongs into a method or hook" in log[1]
