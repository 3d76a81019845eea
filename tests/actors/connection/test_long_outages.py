"""Hours of outage, ten thousand failures, a thousand callers, a service that flaps: nothing grows, nothing ends."""

import gc
import math
from contextlib import suppress
from functools import partial
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock

from resprout import ActorExited, Event, Name, System, child, open_runtime, supervisor
from resprout.actors.connection import (
    FAIL_FAST,
    WAIT,
    AttemptFailed,
    BackingOff,
    BaseLink,
    Connecting,
    Connection,
    Gate,
    KeeperPolicy,
    LinkClient,
    OnDown,
    Sharing,
)
from resprout.runtime import Recipe, errors
from resprout.runtime.backoff import ceiling
from tests.actors.connection.fake_server import FakeServer
from tests.actors.connection.test_actor import FAKE, tree_with


def lines(events: list[Event]) -> list[Event]:
    """Those that a log at its default level shows."""
    return [event for event in events if event.log_level() != "debug"]


def restarts(system: System) -> int:
    return sum(place.restarts for place in system.snapshot().children)


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.parametrize("how", ["refused", "hangs"])
async def test_an_hour_of_outage_makes_no_restart_no_growth_and_a_dozen_lines(
    autojump_clock: MockClock, how: str
) -> None:
    server, count = FakeServer(), 0
    logged: list[str] = []

    def note(event: Event) -> None:
        nonlocal count
        count += 1
        if event.log_level() != "debug":
            logged.append(type(event).__name__)

    async with open_runtime(tree_with(server), seed=7) as runtime:
        runtime.events.subscribe(note)
        await trio.sleep(10)
        server.up, server.hangs = False, how == "hangs"
        server.link.die()
        await trio.sleep(600)
        server.attempts.clear()
        before = objects()
        await trio.sleep(3000)
        attempts = len(server.attempts)
        server.attempts.clear()
        assert objects() - before < 50
        assert restarts(runtime) == 0
        server.up, server.hangs = True, False
        await trio.sleep(31 + 10)
        gate = FAKE.offered(Gate)
        assert gate is not None
        assert gate.live is server.link
    assert 100 <= attempts <= 400
    assert count > 300
    assert len(logged) <= 15, logged


async def test_after_ten_thousand_failures_in_a_row_it_still_tries_and_every_wait_is_within_the_law(
    autojump_clock: MockClock,
) -> None:
    server, failed = FakeServer(up=False), list[AttemptFailed]()

    def note(event: Event) -> None:
        if isinstance(event, AttemptFailed):
            failed.append(event)

    async with open_runtime(tree_with(server), seed=7) as runtime:
        runtime.events.subscribe(note)
        while len(failed) < 10_000:
            await trio.sleep(3600)
        backoff = KeeperPolicy().backoff
        assert [event.attempt for event in failed] == list(range(failed[0].attempt, failed[-1].attempt + 1))
        for event in failed:
            # As a difference of moments it is off by the last bits.
            assert backoff.floor - 1e-6 <= event.retry_after <= ceiling(backoff, event.attempt) + 1e-6
        gaps = [after - before for before, after in pairwise(server.attempts)]
        assert max(gaps) <= 30.1
        assert 13 < sum(gaps[100:]) / len(gaps[100:]) < 17  # Full jitter: half of the ceiling.
        assert restarts(runtime) == 0
        server.up = True
        await trio.sleep(31)
        gate = FAKE.offered(Gate)
        assert gate is not None
        assert gate.live is server.link


@attrs.define(eq=False)
class AnyLink(BaseLink):
    sharing = Sharing.TOGETHER

    async def ping(self) -> None:
        await trio.sleep(0.01)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def double(self, number: int) -> int:
        await trio.sleep(0.01)
        return 2 * number


@attrs.define
class AnyConnection(Connection):
    server: FakeServer

    async def on_start(self) -> None:
        self.keep("any", self.connect)

    async def connect(self, nursery: trio.Nursery) -> AnyLink:
        await self.server.connect(nursery)
        return AnyLink()


ANY = Name(AnyConnection, "any")


def tree_of(server: FakeServer) -> Recipe:
    return supervisor("app", child("any", partial(AnyConnection, server), name=ANY))


async def test_a_thousand_callers_who_wait_are_all_served_or_refused_in_time_without_a_stampede(
    autojump_clock: MockClock,
) -> None:
    server = FakeServer(up=False)
    served, refused, sent = list[float](), list[float](), set[errors.Sent]()

    async def call(number: int, timeout: float) -> None:
        client = LinkClient(ANY, AnyLink, on_down=WAIT, timeout=timeout)
        began = trio.current_time()
        gate = ANY.offered(Gate)
        assert gate is not None
        gate.nudge()  # Each of them is in a hurry.
        try:
            assert await client.call(AnyLink.double, number) == 2 * number
        except errors.ServiceError as error:
            sent.add(error.sent)
            refused.append(trio.current_time() - began - timeout)
        else:
            served.append(trio.current_time())

    async with open_runtime(tree_of(server), seed=7) as runtime:
        await trio.sleep(300)
        server.attempts.clear()
        asked = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(call, number, 5.0 + number % 100)
            await trio.sleep(20)
            server.up = True
            back = trio.current_time()
        assert len(served) + len(refused) == 1000
        assert len(served) >= 1000 - 10 * 46  # All whose time was not over by 30 s after the return.
        assert max(refused) < 0.5
        assert sent == {errors.Sent.NO}
        assert max(served) - min(served) < 0.5
        assert server.most_connecting == 1
        assert len(server.attempts) <= 20 + 2  # A nudge brings one forward at most once a second.
        assert min(served) - back <= 31
        assert asked < min(served)
        assert restarts(runtime) == 0


@pytest.mark.parametrize("on_down", [FAIL_FAST, WAIT])
async def test_callers_wait_a_second_or_a_tenth_longer_than_the_outage(
    autojump_clock: MockClock, on_down: OnDown
) -> None:
    server = FakeServer(up=False)

    async def ask() -> None:
        """Returns with the first answer."""
        client = LinkClient(ANY, AnyLink, on_down=on_down, timeout=5.0)
        while True:
            with suppress(errors.ServiceError):
                assert await client.call(AnyLink.double, 1) == 2
                return
            await trio.sleep(0.1)

    async with open_runtime(tree_of(server), seed=7) as runtime:
        gate = ANY.offered(Gate)
        assert gate is not None
        for outage in [1.0] * 20 + [30.0] * 4 + [200.0]:
            server.up = True
            await ask()
            server.attempts.clear()
            server.up, began = False, trio.current_time()
            gate.lost(gate.link(), ConnectionResetError("down"))
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask)
                await trio.sleep(outage)
                server.up = True
                assert len(server.attempts) <= 10 + min(outage, 10 + 15 * math.log(max(1.0, outage / 10)))
            assert trio.current_time() - began <= outage + max(1.0, outage / 9) + 0.2
        assert server.most_connecting == 1
        assert restarts(runtime) == 0


async def test_an_hour_in_which_callers_ask_all_the_time_makes_no_stampede(autojump_clock: MockClock) -> None:
    server = FakeServer(up=False)

    async def ask() -> None:
        client = LinkClient(ANY, AnyLink)
        while True:
            with suppress(errors.ServiceError):
                await client.call(AnyLink.double, 1)
            await trio.sleep(0.5)

    async with open_runtime(tree_of(server), seed=7), trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(600)
        server.attempts.clear()
        await trio.sleep(3000)
        assert 100 <= len(server.attempts) <= 400
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("traffic", [True, False])
async def test_an_hour_of_flapping_makes_no_restart_few_lines_and_heals(
    autojump_clock: MockClock, traffic: bool
) -> None:
    server, events = FakeServer(), list[Event]()
    answers = 0

    async def call() -> None:
        nonlocal answers
        client = LinkClient(ANY, AnyLink)
        while True:
            with suppress(errors.ServiceError):
                answers += await client.call(AnyLink.double, 1) == 2
            await trio.sleep(0.5)

    async with open_runtime(tree_of(server), seed=7) as runtime, trio.open_nursery() as nursery:
        runtime.events.subscribe(events.append)
        if traffic:
            nursery.start_soon(call)
        for _ in range(900):
            server.up = True
            await trio.sleep(2)
            server.up = False
            gate = ANY.offered(Gate)
            assert gate is not None
            if gate.held is not None:
                gate.lost(gate.held, ConnectionResetError("down again"))
            await trio.sleep(2)
        attempts = len(server.attempts)
        assert isinstance(gate.state, BackingOff | Connecting)
        assert not [event for event in events if isinstance(event, ActorExited)]
        assert restarts(runtime) == 0
        assert server.most_connecting == 1
        # A real reply starts the backoff anew, so with traffic it is back in nearly each of the 900 times.
        assert (900 <= attempts <= 900 * 7) if traffic else (200 <= attempts <= 1200)
        assert len(lines(events)) <= 70
        assert len(events) > 400
        server.up = True
        await trio.sleep(31)
        assert gate.live is not None
        nursery.cancel_scope.cancel()
    if traffic:
        assert answers > 900
