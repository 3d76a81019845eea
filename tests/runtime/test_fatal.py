"""`SystemExit`, `KeyboardInterrupt` and their like, whoever raises them: the tree stops in order, then they go on."""

from collections.abc import Callable
from typing import NoReturn

import attrs
import pytest
import trio
from trio.testing import MockClock

from resprout import Actor, Event, ExitReason, Shutdown, SubscriberFailed, child, open_runtime, supervisor
from resprout.runtime.cell import Cell
from resprout.runtime.owner import Verdict


def nested(error: BaseException) -> BaseException:
    """*error* deep in groups, beside another one that explains nothing."""
    return BaseExceptionGroup("", [ValueError("beside"), BaseExceptionGroup("", [error])])


def raiser(error: BaseException) -> Callable[..., NoReturn]:
    """A function that raises *error*, whatever it is given."""

    def fail(*_: object) -> NoReturn:
        raise error

    return fail


@attrs.define
class Orderly(Actor):
    """Writes to *log* that it was stopped as it should be."""

    log: list[str]

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep(1)
        self.log.append(self.context.path)


@attrs.define
class BadOwner:
    """Raises when it is asked what follows."""

    error: BaseException

    def child_ended(self, cell: Cell, reason: ExitReason) -> Verdict:
        raise self.error


@attrs.define
class Parent(Actor):
    """Has a child whose owner is *owner*; it ends at once."""

    owner: BadOwner

    async def on_start(self) -> None:
        cell = self.context.cell.add_child(child("c", Actor), self.owner)
        await cell.start()
        cell.strike(Shutdown("its time has come"))


async def leave_by(place: str, error: BaseException, log: list[str]) -> BaseException:
    """Raise *error* in *place* of a tree of two orderly actors; what came out of the runtime."""
    culprit = child("p", lambda: Parent(BadOwner(error))) if place == "owner" else child("p", Actor)
    app = supervisor("app", child("a", lambda: Orderly(log)), child("b", lambda: Orderly(log)))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - compared by the caller
        async with open_runtime(supervisor("top", app, child("keep", Actor))) as runtime:
            match place:
                case "alarm":
                    runtime.clock.at(trio.current_time() + 5, raiser(error))
                case "subscriber":
                    runtime.events.subscribe(raiser(error))
                    runtime.events.emit(Event(actor=""))
                case _:
                    await runtime.ref("top/keep")._find().spawn(culprit)
            await runtime.wait()
    return caught.value


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=["interrupt", "exit"])
@pytest.mark.parametrize("wrap", [lambda error: error, nested], ids=["bare", "in groups"])
@pytest.mark.parametrize("place", ["alarm", "subscriber", "owner"])
async def test_an_exit_outside_of_any_handler_stops_the_tree_in_order_and_comes_out_bare(
    place: str,
    wrap: Callable[[BaseException], BaseException],
    error: BaseException,
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    assert await leave_by(place, wrap(error), log) is error
    assert log == ["top/app/b", "top/app/a"]


async def test_a_subscriber_that_exits_while_the_tree_stops_does_not_cut_the_stop_short(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    with pytest.raises(SystemExit):
        async with open_runtime(supervisor("app", child("a", lambda: Orderly(log)))) as runtime:
            runtime.events.subscribe(raiser(SystemExit(3)))  # The first thing it hears is an end.
    assert log == ["app/a"]


async def test_an_exit_that_comes_after_the_end_harms_nobody() -> None:
    async with open_runtime(child("a", Actor)) as runtime:
        pass
    runtime.events.subscribe(raiser(SystemExit(3)))
    runtime.events.emit(Event(actor="a"))
    assert [str(error) for _, error in runtime.events.broken] == ["3"]


async def test_the_first_of_several_exits_counts(autojump_clock: MockClock) -> None:
    with pytest.raises(SystemExit) as caught:
        async with open_runtime(child("a", Actor)) as runtime:
            for code in (4, 5):
                runtime.clock.at(trio.current_time() + code, raiser(SystemExit(code)))
            await trio.sleep(10)
    assert caught.value.code == 4


async def test_other_subscribers_are_told_of_one_that_exits() -> None:
    heard: list[Event] = []
    with pytest.raises(SystemExit):
        async with open_runtime(child("a", Actor)) as runtime:
            runtime.events.subscribe(raiser(SystemExit(3)))
            runtime.events.subscribe(heard.append)
            runtime.events.emit(Event(actor="a"))
            await runtime.wait()
    assert any(isinstance(event, SubscriberFailed) for event in heard)
