"""Looking into an actor that runs, and taking hold of it. OTP's statements 72 to 74."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    Actor,
    ActorCrashed,
    ActorNotRunning,
    ActorStopped,
    Backoff,
    CallTimeoutError,
    Down,
    Name,
    ReplyError,
    Shutdown,
    Signal,
    StateError,
    Statistics,
    SubscriberFailed,
    Supervisor,
    TraceEvent,
    TraceKind,
    UnknownMessageError,
    child,
    control,
    open_runtime,
    supervisor,
)


class No(ReplyError):
    pass


@attrs.define
class Shop(Actor):
    stock: int = 3
    sold: list[str] = attrs.field(factory=list)
    told: int = 0

    async def sell(self, what: str) -> int:
        self.sold.append(what)
        self.stock -= 1
        return self.stock

    async def nap(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def refuse(self) -> None:
        raise No("no")

    async def crash(self) -> None:
        raise ValueError("boom")

    async def nap_and_crash(self, seconds: float) -> None:
        await trio.sleep(seconds)
        raise ValueError("boom")

    async def look_at_oneself(self) -> None:
        await control(SHOP).get_state()

    async def watch(self, name: Name[Actor]) -> None:
        self.context.monitor(name)

    async def on_signal(self, signal: Signal) -> None:
        assert isinstance(signal, Down)
        self.told += 1


class Slotless(Actor):
    def __init__(self) -> None:
        self.mood = "calm"


SHOP = Name(Shop, "shop")
OTHER = Name(Slotless, "other")
BOSS = Name(Supervisor, "boss")
SLOW = child("shop", Shop, name=SHOP, backoff=Backoff(floor=10, base=10, cap=10))
TREE = supervisor(
    "app", child("shop", Shop, name=SHOP), child("other", Slotless, name=OTHER), intensity=9, name=BOSS
)


async def test_the_state_is_what_the_fields_hold_between_two_messages(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        SHOP.cast(Shop.nap, 1)
        SHOP.cast(Shop.sell, "a pear")  # Behind the message in work, and behind the question.
        assert await control(SHOP).get_state() == {"stock": 3, "sold": [], "told": 0}
        assert await control(OTHER).get_state() == {"mood": "calm"}
        assert await control(SHOP).inspect(lambda shop: shop.stock * 2) in (4, 6)


async def test_fields_are_replaced_all_or_none_and_a_mistake_harms_only_the_asker() -> None:
    async with open_runtime(TREE) as runtime:
        await control(SHOP).replace_state(lambda shop: {"stock": shop.stock + 7, "sold": ["x"]})
        assert await SHOP.call(Shop.sell, "y") == 9
        with pytest.raises(StateError, match="Shop has no field 'stick'; it has stock, sold, told"):
            await control(SHOP).replace_state(lambda shop: {"stock": 0, "stick": 1})
        with pytest.raises(ZeroDivisionError):
            await control(SHOP).replace_state(lambda shop: {"stock": 1 // 0})
        assert await control(SHOP).get_state() == {"stock": 9, "sold": ["x", "y"], "told": 0}
        assert runtime.snapshot().children[0].generation == 1


async def test_a_field_that_refuses_its_value_leaves_all_as_it_was() -> None:
    @attrs.define
    class Picky(Actor):
        first: int = 1
        second: int = attrs.field(default=2, validator=attrs.validators.instance_of(int))

    picky = Name(Picky, "picky")
    async with open_runtime(child("picky", Picky, name=picky)):
        with pytest.raises(StateError, match="Picky does not accept"):
            await control(picky).replace_state(lambda _: {"first": 5, "second": "two"})
        assert await control(picky).get_state() == {"first": 1, "second": 2}


async def test_a_suspended_actor_leaves_mail_and_notices_waiting_in_order(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        await SHOP.call(Shop.watch, OTHER)
        await control(SHOP).suspend()
        for fruit in ("apple", "pear", "plum"):
            SHOP.cast(Shop.sell, fruit)
        control(OTHER).kill()
        await trio.sleep(1)
        assert await control(SHOP).is_suspended()
        assert await control(SHOP).get_state() == {"stock": 3, "sold": [], "told": 0}  # Works meanwhile.
        await control(SHOP).replace_state(lambda _: {"stock": 10})
        with pytest.raises(CallTimeoutError, match="never ran"):
            await SHOP.call(Shop.sell, "too late")
        await control(SHOP).resume()
        assert await SHOP.call(Shop.sell, "fig") == 6
        state = await control(SHOP).get_state()
        assert (state["sold"], state["told"]) == (["apple", "pear", "plum", "fig"], 1)


async def test_a_suspended_actor_obeys_a_stop_and_a_kill_and_its_successor_is_not_suspended() -> None:
    async with open_runtime(TREE) as runtime:
        await control(SHOP).suspend()
        control(SHOP).stop(Shutdown("enough"))
        await wait_all_tasks_blocked()
        assert runtime.snapshot().children[0].generation == 2
        await control(SHOP).suspend()
        control(SHOP).kill()
        assert await SHOP.call(Shop.sell, "a") == 2
        assert not await control(SHOP).is_suspended()
        await control(SHOP).suspend()  # And so it is stopped with the tree.


async def test_a_suspended_supervisor_decides_about_its_children_when_it_is_resumed() -> None:
    async with open_runtime(TREE) as runtime:
        await control(BOSS).suspend()
        with pytest.raises(ActorCrashed):
            await SHOP.call(Shop.crash)
        await wait_all_tasks_blocked()
        assert runtime.snapshot().children[0].life == "restarting"
        await control(BOSS).resume()
        assert await SHOP.call(Shop.sell, "a") == 2


async def test_an_order_waits_for_the_message_in_work_but_not_for_ever(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        SHOP.cast(Shop.nap, 60)
        await wait_all_tasks_blocked()
        with pytest.raises(CallTimeoutError, match="within 2 s"):
            await control(SHOP.within(2)).get_state()
        with trio.move_on_after(1):
            await control(SHOP).replace_state(lambda _: {"stock": 99})
        assert (await control(SHOP.within(90)).get_state())["stock"] == 3  # What was withdrawn is not done.


async def test_whoever_waits_for_an_order_hears_at_once_that_the_actor_has_crashed(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(supervisor("app", SLOW)):
        SHOP.cast(Shop.nap_and_crash, 1)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        with pytest.raises(ActorNotRunning, match="app/shop does not run now"):
            await control(SHOP).get_state()
        assert trio.current_time() - began == pytest.approx(1)
        with pytest.raises(ActorNotRunning):  # It waits for its restart.
            await control(SHOP).get_state()


async def test_orders_to_the_dead_and_to_oneself_are_refused() -> None:
    async with open_runtime(TREE) as runtime:
        with pytest.raises(ActorCrashed, match="called itself"):
            await SHOP.call(Shop.look_at_oneself)
        place = runtime.ref("app/other")
        await BOSS.call(Supervisor.terminate_child, "other")
        with pytest.raises(ActorStopped):
            await control(place).get_state()
        control(place).stop()
        control(place).kill()  # Neither hurts.


async def test_a_trace_shows_what_begins_what_ends_how_and_notices(autojump_clock: MockClock) -> None:
    seen: list[TraceEvent] = []
    async with open_runtime(TREE):
        await SHOP.call(Shop.watch, OTHER)
        await control(SHOP).trace(seen.append)
        await SHOP.call(Shop.nap, 2)
        with pytest.raises(No):
            await SHOP.call(Shop.refuse)
        control(OTHER).kill()
        await wait_all_tasks_blocked()
        await control(SHOP).untrace(seen.append)
        await SHOP.call(Shop.sell, "unseen")
    assert [(event.what, event.method, event.seconds) for event in seen] == [
        (TraceKind.BEGIN, "nap", None),
        (TraceKind.DONE, "nap", 2.0),
        (TraceKind.BEGIN, "refuse", None),
        (TraceKind.DONE, "refuse", 0.0),
        (TraceKind.SIGNAL, "Down", None),
    ]
    assert (seen[1].actor, seen[1].args, seen[1].error) == ("app/shop", (2,), None)
    assert isinstance(seen[3].error, No)


async def test_a_trace_ends_at_its_limit_and_goes_on_over_a_restart() -> None:
    seen: list[TraceEvent] = []
    async with open_runtime(TREE) as runtime:
        await control(SHOP).trace(seen.append, limit=3)
        with pytest.raises(ActorCrashed):
            await SHOP.call(Shop.crash)
        await SHOP.call(Shop.sell, "a")
        assert [event.method for event in seen] == ["crash", "crash", "sell"]
        assert isinstance(seen[1].error, ValueError)
        assert not await control(SHOP).get_log()
        assert runtime.observers == {}  # Nobody looks any more, and nothing is kept of it.
        with pytest.raises(ValueError, match="at least 1 event, not 0"):
            await control(SHOP).trace(seen.append, limit=0)


async def test_a_hook_that_raises_is_removed_and_hurts_nobody() -> None:
    broken: list[SubscriberFailed] = []

    def hook(event: TraceEvent) -> None:
        raise RuntimeError("hook")

    async with open_runtime(TREE) as runtime:
        runtime.events.subscribe(lambda e: broken.append(e) if isinstance(e, SubscriberFailed) else None)
        await control(SHOP).trace(hook)
        assert await SHOP.call(Shop.sell, "a") == 2
        assert await SHOP.call(Shop.sell, "b") == 1
    assert [str(event.error) for event in broken] == ["hook"]


async def test_wrong_arguments_are_refused_under_a_trace_as_without() -> None:
    seen: list[TraceEvent] = []
    async with open_runtime(TREE):
        await control(SHOP).trace(seen.append)
        with pytest.raises(UnknownMessageError):
            await SHOP.call(Shop.sell)  # type: ignore[call-arg] # what is tested
    assert seen == []


async def test_the_log_keeps_the_last_events_and_forgets_them_when_it_ends() -> None:
    async with open_runtime(TREE):
        await control(SHOP).keep_log(3)
        for fruit in "abc":
            await SHOP.call(Shop.sell, fruit)
        log = await control(SHOP).get_log()
        assert [(event.what.value, event.args) for event in log] == [
            ("done", ("b",)),
            ("begin", ("c",)),
            ("done", ("c",)),
        ]
        await control(SHOP).keep_log(0)
        await control(SHOP).keep_log()
        assert await control(SHOP).get_log() == ()
        with pytest.raises(ValueError, match="0 to 10000 events, not -1"):
            await control(SHOP).keep_log(-1)


async def test_statistics_count_from_when_they_were_started(autojump_clock: MockClock) -> None:
    async with open_runtime(TREE):
        assert await control(SHOP).get_statistics() is None
        await SHOP.call(Shop.sell, "before")
        await control(SHOP).start_statistics()
        since = trio.current_time()
        await SHOP.call(Shop.nap, 2)
        with pytest.raises(No):
            await SHOP.call(Shop.refuse)
        await trio.sleep(5)
        assert await control(SHOP).get_statistics() == Statistics(
            since=since, now=since + 7, received=2, handled=1, failed=1, busy=2.0
        )
        await control(SHOP).stop_statistics()
        assert await control(SHOP).get_statistics() is None
