from collections.abc import Collection
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock

from resprout.actors.auth import AuthClient, Authenticator, InvalidToken
from resprout.actors.connection import Connection
from resprout.actors.monitor import (
    Health,
    HealthBoard,
    HealthChanged,
    HealthMonitor,
    MonitorHung,
    MonitorPaused,
    MonitorPolicy,
    MonitorResumed,
    PauseError,
    RecoveryAsked,
)
from resprout.actors.monitor.board import Place
from resprout.runtime import (
    Actor,
    ActorExited,
    Crashed,
    Event,
    Name,
    Recipe,
    control,
    errors,
    open_runtime,
)
from resprout.runtime.breakers import breakers
from resprout.supervisors import child, supervisor
from tests.actors.connection.fake_server import FakeServer


@attrs.define
class ServerConnection(Connection):
    """A connection to a `FakeServer`."""

    server: FakeServer

    async def on_start(self) -> None:
        self.keep("store", self.server.connect)


@attrs.define
class OddFace:
    """An offer whose methods misbehave on demand."""

    error: BaseException | None = None
    hangs: bool = False
    deaf_for: float = 0.0
    nudges: list[float] = attrs.field(factory=list)
    checks: list[float] = attrs.field(factory=list)

    def trouble(self) -> str:
        return ""

    async def check(self) -> None:
        self.checks.append(trio.current_time())
        if self.hangs:
            await trio.sleep_forever()
        with trio.CancelScope(shield=True):
            await trio.sleep(self.deaf_for)
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error

    def nudge(self) -> None:
        self.nudges.append(trio.current_time())


@attrs.define
class OddActor(Actor):
    """Offers whatever it is given."""

    face: object

    async def on_start(self) -> None:
        self.context.offer(self.face)


@attrs.define
class MortalMonitor(HealthMonitor):
    """Can be crashed by a message, or made to hang."""

    forgetful: bool = False

    async def explode(self) -> None:
        raise RuntimeError("boom")

    async def hang(self) -> None:
        await trio.sleep_forever()

    async def forget(self) -> None:
        """From now on no service gets another turn."""
        self.forgetful = True

    def _interval(self, health: Health) -> float:
        return float("inf") if self.forgetful else super()._interval(health)


STORE = Name(ServerConnection, "store")
ODD = Name(OddActor, "odd")
AUTH: Name[Authenticator[str]] = Name(Authenticator, "auth")
MONITOR = Name(MortalMonitor, "monitor")


def watched(
    server: FakeServer, face: object, *, required: Collection[str] | None = None, store_only: bool = False
) -> Recipe:
    services: dict[str, Place] = {"store": STORE} if store_only else {"store": STORE, "odd": ODD}
    return supervisor(
        "app",
        child("store", partial(ServerConnection, server), name=STORE),
        child("odd", partial(OddActor, face), name=ODD),
        child("monitor", partial(MortalMonitor, services, required), name=MONITOR),
    )


def readiness() -> dict[str, str]:
    """Services that are not ok, and why."""
    board = MONITOR.offered(HealthBoard)
    assert board is not None
    now = board.readiness()
    assert now.ok is all(one.ok for one in now.services.values() if one.required)
    return {name: one.why for name, one in now.services.items() if not one.ok}


async def test_the_application_is_ready_once_all_services_answer(autojump_clock: MockClock) -> None:
    async with open_runtime(watched(FakeServer(), OddFace())):
        assert set(readiness()) == {"store", "odd"}
        await trio.sleep(3)
        assert readiness() == {}
        assert (await MONITOR.call(MortalMonitor.readiness)).report() == {
            "ready": True,
            "services": {
                "store": {"ok": True, "required": True, "why": ""},
                "odd": {"ok": True, "required": True, "why": ""},
            },
        }


async def test_a_lost_connection_is_not_ready_at_once_and_ready_again_when_back(
    autojump_clock: MockClock,
) -> None:
    server, events = FakeServer(), list[Event]()
    async with open_runtime(watched(server, OddFace())) as runtime:
        runtime.events.subscribe(events.append)
        await trio.sleep(100)
        server.up = False
        server.link.die()
        await trio.sleep(0.05)
        assert "store: " in readiness()["store"]
        await trio.sleep(600)
        assert set(readiness()) == {"store"}
        server.up = True
        await trio.sleep(35)
        assert readiness() == {}
    asked = [event for event in events if isinstance(event, RecoveryAsked)]
    assert 15 <= len(asked) <= 25  # Every 30 s, so that the backoff keeps its meaning.
    changed = [event.ok for event in events if isinstance(event, HealthChanged) and event.service == "store"]
    assert changed[-3:] == [True, False, True]


async def test_services_that_are_not_required_do_not_decide(autojump_clock: MockClock) -> None:
    face = OddFace(error=ConnectionError("down"))
    async with open_runtime(watched(FakeServer(), face, required=["store"])):
        await trio.sleep(3)
        assert set(readiness()) == {"odd"}
        assert (await MONITOR.call(MortalMonitor.readiness)).ok


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("down"),
        TypeError("a bug"),
        errors.Unavailable("odd", "down"),
        ExceptionGroup("g", [OSError()]),
    ],
)
async def test_no_check_can_harm_the_monitor(autojump_clock: MockClock, error: Exception) -> None:
    face = OddFace(error=error)
    async with open_runtime(watched(FakeServer(), face)) as runtime:
        await trio.sleep(120)
        assert set(readiness()) == {"odd"}
        assert runtime.snapshot().children[2].restarts == 0
        assert len(face.nudges) in (4, 5)
        face.error = None
        await trio.sleep(3)
        assert readiness() == {}


async def test_a_hanging_check_ends_at_its_deadline_and_holds_no_other_up(autojump_clock: MockClock) -> None:
    face, server = OddFace(hangs=True), FakeServer()
    async with open_runtime(watched(server, face)):
        await trio.sleep(11.1)
        assert "took longer than 5.5 s" in readiness()["odd"]
        assert "store" not in readiness()
        face.hangs = False
        await trio.sleep(13)
        assert readiness() == {}


async def test_an_owner_that_offers_nothing_checkable_is_a_reason_and_not_a_crash(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(watched(FakeServer(), object())):
        await trio.sleep(3)
        assert "no check()" in readiness()["odd"]


async def test_an_owner_that_is_not_in_the_tree_is_a_reason_and_not_a_crash(
    autojump_clock: MockClock,
) -> None:
    nowhere = Name(OddActor, "nowhere")
    tree = supervisor("app", child("monitor", partial(MortalMonitor, {"odd": nowhere}), name=MONITOR))
    async with open_runtime(tree):
        await trio.sleep(3)
        assert "nowhere" in readiness()["odd"]


async def test_checks_come_every_thirty_seconds_give_or_take_a_tenth(autojump_clock: MockClock) -> None:
    face = OddFace()
    async with open_runtime(watched(FakeServer(), face)):
        await trio.sleep(3600)
    gaps = [b - a for a, b in zip(face.checks, face.checks[1:], strict=False)]
    assert 27 <= min(gaps) < 28.5 < 31.5 < max(gaps) <= 33


async def test_a_pause_ends_by_itself(autojump_clock: MockClock) -> None:
    face, events = OddFace(), list[Event]()
    async with open_runtime(watched(FakeServer(), face)) as runtime:
        runtime.events.subscribe(events.append)
        await trio.sleep(100)
        await MONITOR.call(MortalMonitor.pause, 600, by="ann", reason="maintenance")
        await trio.sleep(33)
        before = len(face.checks)
        face.error = ConnectionError("down")
        await trio.sleep(560)
        assert len(face.checks) == before
        assert readiness() == {}  # A pause is no reason to be thought dead.
        await trio.sleep(40)
        assert len(face.checks) > before
        assert set(readiness()) == {"odd"}
    assert [(event.seconds, event.by) for event in events if isinstance(event, MonitorPaused)] == [
        (600, "ann")
    ]
    assert [event.by for event in events if isinstance(event, MonitorResumed)] == [""]


async def test_a_pause_can_be_ended_early(autojump_clock: MockClock) -> None:
    face, events = OddFace(), list[Event]()
    async with open_runtime(watched(FakeServer(), face)) as runtime:
        runtime.events.subscribe(events.append)
        await trio.sleep(10)
        await MONITOR.call(MortalMonitor.resume, by="bob")  # There is nothing to end.
        await MONITOR.call(MortalMonitor.pause, 3600, by="ann")
        await trio.sleep(60)
        before = len(face.checks)
        await MONITOR.call(MortalMonitor.resume, by="bob")
        await trio.sleep(1)
        assert len(face.checks) == before + 1
    assert [event.by for event in events if isinstance(event, MonitorResumed)] == ["bob"]


async def test_a_pause_takes_the_place_of_an_earlier_one(autojump_clock: MockClock) -> None:
    face, events = OddFace(), list[Event]()
    async with open_runtime(watched(FakeServer(), face)) as runtime:
        runtime.events.subscribe(events.append)
        await trio.sleep(10)
        await MONITOR.call(MortalMonitor.pause, 3600, by="ann")
        await MONITOR.call(MortalMonitor.pause, 300, by="bob")
        board = MONITOR.offered(HealthBoard)
        assert board is not None
        assert board.describe() == {"ready": True, "paused_for": 300.0, "paused_by": "bob"}
        await trio.sleep(299)
        before = len(face.checks)
        await trio.sleep(2)
        assert len(face.checks) == before + 1
    assert [event.by for event in events if isinstance(event, MonitorResumed)] == [""]


@pytest.mark.parametrize("nobody", ["", "  "])
async def test_a_pause_that_nobody_asked_for_is_refused(autojump_clock: MockClock, nobody: str) -> None:
    async with open_runtime(watched(FakeServer(), OddFace())):
        with pytest.raises(PauseError, match="somebody"):
            await MONITOR.call(MortalMonitor.pause, 60, by=nobody)


@pytest.mark.parametrize("seconds", [0, -1, 86_401, float("inf"), float("nan")])
async def test_a_pause_without_an_end_is_refused(autojump_clock: MockClock, seconds: float) -> None:
    async with open_runtime(watched(FakeServer(), OddFace())):
        with pytest.raises(PauseError):
            await MONITOR.call(MortalMonitor.pause, seconds, by="ann")


async def test_a_crashed_monitor_is_restarted_and_watches_on_also_if_it_was_paused(
    autojump_clock: MockClock,
) -> None:
    face = OddFace()
    async with open_runtime(watched(FakeServer(), face)):
        await trio.sleep(10)
        await MONITOR.call(MortalMonitor.pause, 3600, by="ann")
        with pytest.raises(errors.ActorCrashed):
            await MONITOR.call(MortalMonitor.explode)
        before = len(face.checks)
        await trio.sleep(40)
        assert len(face.checks) >= before + 2
        assert readiness() == {}


@pytest.mark.parametrize(("how", "within"), [("hang", 41.0), ("forget", 33 + 77 + 31.0)])
async def test_a_monitor_that_hangs_is_restarted_and_watches_on(
    autojump_clock: MockClock, how: str, within: float
) -> None:
    face, events = OddFace(), list[Event]()
    async with open_runtime(watched(FakeServer(), face)) as runtime:
        runtime.events.subscribe(events.append)
        await trio.sleep(100)
        MONITOR.cast(MortalMonitor.hang if how == "hang" else MortalMonitor.forget)
        await trio.sleep(within)
        (ended,) = [event for event in events if isinstance(event, ActorExited)]
        assert isinstance(ended.reason, Crashed)
        assert isinstance(ended.reason.error, MonitorHung)
        assert runtime.snapshot().children[2].restarts == 1
        before = len(face.checks)
        await trio.sleep(3600)
        assert len(face.checks) >= before + 3600 / 33 - 1
        assert readiness() == {}
        assert runtime.snapshot().children[2].restarts == 1


async def test_a_monitor_cannot_be_switched_off_by_suspending_it(autojump_clock: MockClock) -> None:
    async with open_runtime(watched(FakeServer(), OddFace())) as runtime:
        await trio.sleep(100)
        await control(MONITOR).suspend()
        await trio.sleep(45)
        assert runtime.snapshot().children[2].restarts == 1
        assert (await MONITOR.call(MortalMonitor.readiness)).ok


async def test_a_check_that_heeds_no_cancellation_harms_only_its_own_service(
    autojump_clock: MockClock,
) -> None:
    face = OddFace()
    async with open_runtime(watched(FakeServer(), face)) as runtime:
        await trio.sleep(10)
        face.deaf_for = 600.0
        await trio.sleep(33 + 78)
        assert "no check has ended" in readiness()["odd"]
        assert set(readiness()) == {"odd"}
        assert runtime.snapshot().children[2].restarts == 0
        face.deaf_for = 0.0
        await trio.sleep(610)
        assert readiness() == {}


async def test_a_day_with_slow_moments_pauses_and_a_loop_that_stands_still_gives_no_false_alarm(
    autojump_clock: MockClock,
) -> None:
    face, server, events = OddFace(), FakeServer(), list[Event]()

    async def trouble_now_and_then() -> None:
        for hour in range(24):
            await trio.sleep(3000)
            face.hangs = True  # For one check and no longer.
            while face.hangs:
                before = len(face.checks)
                await trio.sleep(0.1)
                face.hangs = len(face.checks) == before
            await trio.sleep(100)
            if hour % 4 == 0:
                autojump_clock.jump(120)  # As after a machine's sleep: all timers are due at once.
            if hour % 6 == 0:
                await MONITOR.call(MortalMonitor.pause, 400, by="ann")

    async with open_runtime(watched(server, face)) as runtime, trio.open_nursery() as nursery:
        await trio.sleep(60)
        runtime.events.subscribe(events.append)
        nursery.start_soon(trouble_now_and_then)
        await trio.sleep(24 * 3600)
        assert readiness() == {}
        assert [event for event in events if isinstance(event, HealthChanged | RecoveryAsked)] == []
        assert [child.restarts for child in runtime.snapshot().children] == [0, 0, 0]
        assert len(face.checks) > 24 * 3600 / 33 - 24 * 15
        nursery.cancel_scope.cancel()


async def test_a_dead_peer_is_found_within_45_seconds_wherever_in_the_round_it_dies(
    autojump_clock: MockClock,
) -> None:
    for died_at in range(100, 140, 3):
        face, events = OddFace(), list[Event]()
        async with open_runtime(watched(FakeServer(), face), seed=died_at) as runtime:
            runtime.events.subscribe(events.append)
            await trio.sleep(died_at)
            died, face.hangs = trio.current_time(), True
            await trio.sleep(45)
            assert set(readiness()) == {"odd"}
            (changed,) = [event for event in events if isinstance(event, HealthChanged) and not event.ok]
            assert changed.service == "odd"
            assert face.nudges
            assert face.nudges[0] - died <= 45


async def test_a_breaker_opens_and_closes_again_without_any_user(autojump_clock: MockClock) -> None:
    failing, asked = [ConnectionRefusedError("down")], list[str]()

    async def verify(token: str) -> str:
        asked.append(token)
        await trio.sleep(0.01)
        if failing:
            raise failing[0]
        raise InvalidToken

    tree = supervisor(
        "app",
        child("auth", partial(Authenticator, verify), name=AUTH),
        child("monitor", partial(MortalMonitor, {"auth": AUTH}), name=MONITOR),
    )
    async with open_runtime(tree):
        for _ in range(5):
            with pytest.raises(errors.ServiceError):
                await AuthClient(AUTH).verify("t1")
        await trio.sleep(3600)
        breaker = breakers().find("auth")
        assert breaker is not None
        assert breaker.state.name == "open"
        assert len(asked) < 3600 / 27 + 3600 / 9 + 10  # The monitor's checks, and the authenticator's probes.
        assert "auth" in readiness()
        failing.clear()
        await trio.sleep(31)
        assert breaker.state.name == "closed"
        assert readiness() == {}


def test_a_required_service_that_nobody_watches_is_refused() -> None:
    with pytest.raises(ValueError, match="required but not watched: auth"):
        HealthMonitor({"store": STORE}, required=["auth"])
    with pytest.raises(ValueError, match="every"):
        MonitorPolicy(every=0)
