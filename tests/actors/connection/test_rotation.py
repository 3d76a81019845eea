"""A new link takes over from a live one, and no call notices."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import Event, Name, child, open_runtime, supervisor
from resprout.actors.connection import (
    AttemptFailed,
    BackingOff,
    ConnectionChanged,
    Gate,
    Keeper,
    LinkLost,
    LinkReplaced,
    Ready,
    RotationFailed,
)
from tests.actors.connection.fake_server import FakeLink, FakeServer
from tests.actors.connection.test_actor import FakeConnection


@asynccontextmanager
async def kept(server: FakeServer, events: list[Event] | None = None) -> AsyncIterator[Gate[FakeLink]]:
    heard = events if events is not None else []
    keeper = Keeper("fake", server.connect, emit=heard.append, actor="app/fake", random=random.Random(3))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(10)
        yield keeper.gate
        nursery.cancel_scope.cancel()
    assert all(link.closed for link in server.links)


class BusyLink(FakeLink):
    """Its calls in flight are done after twenty seconds."""

    async def wait_idle(self) -> None:
        await trio.sleep(20)


@pytest.mark.parametrize(("kind", "seconds"), [(FakeLink, 60), (BusyLink, 20)])
async def test_the_old_link_serves_until_the_new_one_takes_over_and_then_drains(
    autojump_clock: MockClock, kind: type[FakeLink], seconds: float
) -> None:
    events: list[Event] = []
    async with kept(server := FakeServer(make_link=kind), events) as gate:
        began = trio.current_time()
        gate.rotate("new certificate")
        while gate.live is server.links[0]:
            await trio.sleep(0.005)
        assert gate.live is server.links[1]
        assert trio.current_time() - began < 0.1
        await trio.sleep(seconds - 1)
        assert not server.links[0].closed
        await trio.sleep(2)
        assert server.links[0].closed
        assert gate.live is server.links[1]
        assert isinstance(gate.state, Ready)
    assert [event.why for event in events if isinstance(event, LinkReplaced)] == ["new certificate"]
    assert not [event for event in events if isinstance(event, LinkLost)]
    changes = [event.new.name for event in events if isinstance(event, ConnectionChanged)]
    assert changes == ["ready", "stopped"]  # To those who watch, nothing happened.


async def test_there_is_a_live_link_at_every_moment_of_a_hundred_rotations(autojump_clock: MockClock) -> None:
    async with kept(server := FakeServer(make_link=BusyLink)) as gate:
        for turn in range(100):
            gate.rotate("again")
            for _ in range(300):
                assert gate.live is not None
                await trio.sleep(0.1)
            assert len(server.links) == turn + 2
            assert sum(not link.closed for link in server.links) <= 2


async def test_at_most_one_link_drains_however_often_somebody_asks(autojump_clock: MockClock) -> None:
    async with kept(server := FakeServer()) as gate:
        for _ in range(300):
            gate.rotate("again")
            await trio.sleep(1)
            assert sum(not link.closed for link in server.links) <= 2
        assert 5 <= len(server.links) <= 7


async def test_a_new_link_that_cannot_be_made_is_tried_again_and_the_old_one_stays(
    autojump_clock: MockClock,
) -> None:
    events: list[Event] = []
    async with kept(server := FakeServer(), events) as gate:
        server.up = False
        gate.rotate("new password")
        for _ in range(6000):
            assert gate.live is server.links[0]
            await trio.sleep(0.1)
        server.up = True
        await trio.sleep(31)
        assert gate.live is server.links[1]
    failed = [event for event in events if isinstance(event, RotationFailed)]
    assert 20 < len(failed) < 80
    assert not [event for event in events if isinstance(event, AttemptFailed)]


async def test_an_attempt_to_take_over_that_hangs_ends_at_its_deadline(autojump_clock: MockClock) -> None:
    events: list[Event] = []
    async with kept(server := FakeServer(), events) as gate:
        server.hangs = True
        gate.rotate("again")
        await trio.sleep(10.5)
        assert gate.live is server.links[0]
        assert [type(e.error) for e in events if isinstance(e, RotationFailed)] == [TimeoutError]


async def test_a_link_that_is_lost_while_it_is_replaced_leaves_one_attempt_at_a_time(
    autojump_clock: MockClock,
) -> None:
    async with kept(server := FakeServer()) as gate:
        server.hangs = True
        gate.rotate("again")
        await trio.sleep(3)
        server.links[0].die()
        await wait_all_tasks_blocked()
        assert isinstance(gate.state, BackingOff)
        assert gate.rotation is None
        assert server.connecting == 0
        server.hangs = False
        await trio.sleep(1)
        assert gate.live is server.links[1]
        assert len(server.links) == 2


async def test_the_new_link_is_watched_like_any_other(autojump_clock: MockClock) -> None:
    async with kept(server := FakeServer()) as gate:
        gate.rotate("again")
        await trio.sleep(1)
        server.links[1].hangs = True
        await trio.sleep(50)
        assert gate.live is server.links[2]
        assert len(server.links) == 3


async def test_a_task_of_the_old_link_that_fails_harms_the_new_one_not_at_all(
    autojump_clock: MockClock,
) -> None:
    async def fail_late() -> None:
        await trio.sleep(15)
        raise EOFError("the old one")

    server = FakeServer()
    server.on_connect = lambda nursery, _link: (
        nursery.start_soon(fail_late) if not server.attempts[1:] else None
    )
    async with kept(server) as gate:
        gate.rotate("again")
        await trio.sleep(20)
        assert gate.live is server.links[1]
        assert server.links[0].closed
        assert isinstance(gate.state, Ready)


async def test_a_drain_ends_a_rotation_too(autojump_clock: MockClock) -> None:
    server = FakeServer()
    keeper = Keeper(
        "fake", server.connect, emit=lambda _event: None, actor="app/fake", random=random.Random(3)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(10)
        keeper.gate.rotate("again")
        await trio.sleep(1)
        server.hangs = True
        keeper.gate.rotate("and again")
        await trio.sleep(1)
        keeper.gate.drain()
    assert trio.current_time() == 22
    assert all(link.closed for link in server.links)


async def test_operators_ask_the_actor(autojump_clock: MockClock) -> None:
    server, name = FakeServer(), Name(FakeConnection, "fake")
    async with open_runtime(supervisor("app", child("fake", partial(FakeConnection, server), name=name))):
        await trio.sleep(1)
        await name.call(FakeConnection.rotate, "new password")
        await trio.sleep(1)
        gate = name.offered(Gate)
        assert gate is not None
        assert gate.live is server.links[1]
