"""A message to oneself after a time without any. OTP's statement 60."""

from __future__ import annotations

import math

import attrs
import pytest
import trio
from trio.testing import MockClock

from resprout import (
    Actor,
    ActorCrashed,
    ActorExited,
    Down,
    ExitReason,
    Name,
    Normal,
    Signal,
    child,
    control,
    open_runtime,
    supervisor,
)


@attrs.define
class Session(Actor):
    idle: float = 10.0
    rung: list[float] = attrs.field(factory=list)

    async def on_start(self) -> None:
        self.context.idle_after(self.idle, Session.expire, "idle")

    async def expire(self, why: str) -> None:
        assert why == "idle"
        self.rung.append(trio.current_time())

    async def use(self, seconds: float = 0.0) -> None:
        await trio.sleep(seconds)

    async def set_idle(self, seconds: float) -> None:
        self.context.idle_after(seconds, Session.expire, "idle")

    async def watch(self, name: Name[Session]) -> None:
        self.context.monitor(name)

    async def on_signal(self, signal: Signal) -> None:
        assert isinstance(signal, Down)

    async def times(self) -> list[float]:
        return self.rung

    async def crash(self) -> None:
        raise ValueError("boom")


SESSION, OTHER = Name(Session, "session"), Name(Session, "other")
TREE = supervisor(
    "app", child("session", Session, name=SESSION), child("other", Session, name=OTHER), intensity=9
)


async def rung() -> list[float]:
    return (await control(SESSION).inspect(lambda session: list(session.rung)))[:]


async def test_it_rings_after_each_such_time_without_anything(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        start = trio.current_time()
        await trio.sleep(25)
        assert await rung() == [start + 10, start + 20]


async def test_whatever_comes_begins_the_time_anew_and_work_is_not_idleness(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(TREE):
        start = trio.current_time()
        await trio.sleep(6)
        await SESSION.call(Session.use)
        await trio.sleep(9)
        SESSION.cast(Session.use, 30)  # From 15 to 45.
        await trio.sleep(39)
        assert await rung() == []
        await trio.sleep(3)
        assert await rung() == [start + 55]


async def test_notices_count_and_the_looks_of_an_operator_do_not(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        start = trio.current_time()
        await trio.sleep(4)
        assert await rung() == []
        await trio.sleep(4)
        assert await rung() == []
        await trio.sleep(4)
        assert await rung() == [start + 10]
        await SESSION.call(Session.watch, OTHER)
        await trio.sleep(8)
        control(OTHER).kill()
        await trio.sleep(8)
        assert await rung() == [start + 10]
        await trio.sleep(3)
        assert await rung() == [start + 10, start + 30]


async def test_it_can_be_replaced_and_ended_and_wrong_times_are_refused(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        await SESSION.call(Session.set_idle, 3)
        await trio.sleep(4)
        assert len(await rung()) == 1
        await SESSION.call(Session.set_idle, math.inf)
        await trio.sleep(1_000)
        assert len(await rung()) == 1
        with pytest.raises(ActorCrashed, match=r"more than 0 seconds, not 0; use math\.inf"):
            await SESSION.call(Session.set_idle, 0)


async def test_it_dies_with_the_incarnation_and_the_next_one_sets_its_own(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        await trio.sleep(6)
        with pytest.raises(ActorCrashed):
            await SESSION.call(Session.crash)
        restarted = trio.current_time()
        await trio.sleep(15)
        assert await rung() == [restarted + 10]


async def test_a_session_can_end_itself_when_it_is_idle(autojump_clock: MockClock) -> None:
    class Closing(Session):
        async def expire(self, why: str) -> None:
            self.context.stop(Normal())

    ends: list[ExitReason] = []
    async with open_runtime(child("session", Closing)) as runtime:
        runtime.events.subscribe(lambda e: ends.append(e.reason) if isinstance(e, ActorExited) else None)
        assert await runtime.wait() == Normal()
    assert ends == [Normal()]
