"""Calls over a link of one's own: what each caller gets, whatever becomes of the link."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    CircuitOpen,
    DeadlineExceeded,
    Name,
    OutcomeUnknown,
    Phase,
    PoolExhausted,
    ReplyError,
    Sent,
    Unavailable,
    child,
    open_runtime,
    supervisor,
)
from resprout.actors.connection import (
    WAIT,
    BaseLink,
    Connection,
    Gate,
    Keeper,
    LinkClient,
    Sharing,
    dial,
    is_silent,
)


@attrs.define
class Shop:
    """A service in memory. Its answers come late if *takes* says so; *errors* are raised one by one instead."""

    up: bool = True
    takes: float = 0.01
    errors: list[Exception] = attrs.field(factory=list)
    links: "list[ShopLink]" = attrs.field(factory=list)
    sold: list[str] = attrs.field(factory=list)
    at_once: int = 0
    most_at_once: int = 0
    together: bool = False

    async def connect(self, _nursery: trio.Nursery) -> "ShopLink":
        await trio.sleep(0.02)
        if not self.up:
            raise ConnectionRefusedError("refused")
        self.links.append(link := (SharedLink if self.together else ShopLink)(self))
        return link


@attrs.define(eq=False)
class ShopLink(BaseLink):
    shop: Shop
    closed: int = 0
    usable: bool = True
    pings_in: float = 0.01

    async def ping(self) -> None:
        await trio.sleep(self.pings_in)

    async def aclose(self) -> None:
        self.closed += 1
        await trio.lowlevel.checkpoint()

    def is_usable(self) -> bool:
        return self.usable

    async def buy(self, what: str, *, pieces: int = 1) -> str:
        shop = self.shop
        shop.at_once += 1
        shop.most_at_once = max(shop.most_at_once, shop.at_once)
        try:
            await trio.sleep(shop.takes)
        finally:
            shop.at_once -= 1
        if shop.errors:
            raise shop.errors.pop(0)
        shop.sold.append(what)
        return f"{pieces} {what}"


class SharedLink(ShopLink):
    sharing: ClassVar[Sharing] = Sharing.TOGETHER


class SoldOut(ReplyError):
    """A business error."""


@asynccontextmanager
async def open_shop(shop: Shop) -> AsyncIterator[tuple[Gate[ShopLink], LinkClient[ShopLink]]]:
    keeper = Keeper("shop", shop.connect, emit=lambda _event: None, actor="app/shop", random=random.Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(0.1)
        yield keeper.gate, LinkClient(keeper.gate, ShopLink)
        nursery.cancel_scope.cancel()


async def test_a_call_is_a_method_of_the_live_link(autojump_clock: MockClock) -> None:
    async with open_shop(Shop()) as (_gate, client):
        assert await client.call(ShopLink.buy, "tea", pieces=2) == "2 tea"


async def test_an_answer_that_is_an_error_goes_to_the_caller_and_the_link_lives_on(
    autojump_clock: MockClock,
) -> None:
    async with open_shop(shop := Shop()) as (gate, client):
        shop.errors = [SoldOut("no tea") for _ in range(20)]
        for _ in range(20):
            with pytest.raises(SoldOut):
                await client.call(ShopLink.buy, "tea")
        assert gate.live is shop.links[0]


async def test_calls_take_turns(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop()) as (_gate, client), trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(client.call, ShopLink.buy, "tea")
    assert shop.most_at_once == 1
    assert len(shop.sold) == 50


async def test_calls_of_a_shared_link_do_not_and_one_that_is_cut_off_harms_nobody(
    autojump_clock: MockClock,
) -> None:
    async with open_shop(shop := Shop(together=True, takes=1.0)) as (gate, client):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(client.call, ShopLink.buy, "tea")
            with trio.move_on_after(0.5):
                await client.call(ShopLink.buy, "coffee")
        assert shop.most_at_once == 51
        assert shop.sold == ["tea"] * 50
        assert gate.live is shop.links[0]


async def test_a_call_that_is_cancelled_closes_a_link_in_turn_and_is_nothing_to_the_breaker(
    autojump_clock: MockClock,
) -> None:
    async with open_shop(shop := Shop(takes=1.0)) as (gate, client):
        for _ in range(10):
            with trio.move_on_after(0.5):
                await client.using(on_down=WAIT).call(ShopLink.buy, "tea")
            await wait_all_tasks_blocked()
            assert shop.links[-1].closed
        assert gate.fuse.breaker.state.name == "closed"
        assert await client.using(on_down=WAIT).call(ShopLink.buy, "coffee") == "1 coffee"
    assert shop.sold == ["coffee"]


async def test_who_stands_in_line_when_the_link_dies_is_served_by_the_next(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop(takes=0.5)) as (_gate, client):
        shop.errors = [ConnectionResetError("reset")]
        answers: list[str] = []

        async def buy() -> None:
            try:
                answers.append(await client.using(on_down=WAIT).call(ShopLink.buy, "tea"))
            except OutcomeUnknown:
                answers.append("unknown")

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(buy)
        assert sorted(answers) == ["1 tea"] * 4 + ["unknown"]
        assert len(shop.links) == 2


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_call_whose_link_is_lost_is_unknown_or_made_again_if_that_is_safe(
    autojump_clock: MockClock, idempotent: bool
) -> None:
    async with open_shop(shop := Shop()) as (_gate, client):
        shop.errors = [EOFError("hung up")]
        call = partial(client.using(idempotent=idempotent).call, ShopLink.buy, "tea")
        if idempotent:
            assert await call() == "1 tea"
            assert len(shop.links) == 2
        else:
            with pytest.raises(OutcomeUnknown) as unknown:
                await call()
            assert (unknown.value.sent, unknown.value.service) == (Sent.MAYBE, "shop")
            assert isinstance(unknown.value.cause, EOFError)


async def test_when_a_link_dies_all_calls_under_way_end_at_once(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop(together=True, takes=60.0)) as (_gate, client):
        ended: list[float] = []

        async def buy() -> None:
            with pytest.raises(OutcomeUnknown, match="reset by the router"):
                await client.using(timeout=100).call(ShopLink.buy, "tea")
            ended.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(buy)
            await trio.sleep(10)
            shop.links[0].lose(ConnectionResetError("reset by the router"))
            now = trio.current_time()
        assert ended == [now] * 20


async def test_when_probes_lose_a_link_the_calls_on_it_end_too(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop(together=True, takes=600.0)) as (_gate, client):
        shop.links[0].pings_in = 600.0
        with pytest.raises(OutcomeUnknown, match="no answer to the probe"):
            await client.using(timeout=500).call(ShopLink.buy, "tea")
        assert trio.current_time() < 45


@pytest.mark.parametrize(("idempotent", "error"), [(False, OutcomeUnknown), (True, DeadlineExceeded)])
async def test_a_call_ends_by_its_deadline_and_five_in_a_row_open_the_breaker(
    autojump_clock: MockClock, idempotent: bool, error: type[Exception]
) -> None:
    async with open_shop(Shop(together=True, takes=60.0)) as (_gate, client):
        for _ in range(5):
            before = trio.current_time()
            with pytest.raises(error):
                await client.using(timeout=3, idempotent=idempotent).call(ShopLink.buy, "tea")
            assert trio.current_time() - before == pytest.approx(3)
        with pytest.raises(CircuitOpen) as refused:
            await client.call(ShopLink.buy, "tea")
        assert refused.value.sent is Sent.NO


async def test_a_call_that_never_had_its_turn_was_not_sent(autojump_clock: MockClock) -> None:
    async with open_shop(Shop(takes=4.0)) as (gate, client), trio.open_nursery() as nursery:
        nursery.start_soon(client.call, ShopLink.buy, "tea")
        await wait_all_tasks_blocked()
        with pytest.raises(DeadlineExceeded) as late:
            await client.using(timeout=1).call(ShopLink.buy, "tea")
        assert late.value.sent is Sent.NO
        assert late.value.phase is Phase.QUEUE
        assert gate.fuse.breaker.stats.failed == 0


async def test_a_late_call_says_where_it_was(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop(takes=4.0)) as (_gate, client):
        client = client.using(timeout=1, idempotent=True)
        with pytest.raises(DeadlineExceeded) as late:
            await client.call(ShopLink.buy, "tea")
        assert late.value.phase is Phase.READ
        await trio.sleep(1)
        shop.takes, shop.up, shop.errors = 0.01, False, [ConnectionResetError("reset")]
        with pytest.raises(DeadlineExceeded) as late:
            await client.call(ShopLink.buy, "tea")
        assert late.value.phase is Phase.CONNECT, "there was no next link"
        assert late.value.sent is Sent.MAYBE


async def test_a_probe_that_could_not_ask_does_not_close_the_breaker(autojump_clock: MockClock) -> None:
    async with open_shop(Shop(takes=60.0)) as (gate, client), trio.open_nursery() as nursery:
        nursery.start_soon(partial(client.using(timeout=100).call, ShopLink.buy, "tea"))
        await wait_all_tasks_blocked()
        for _ in range(5):
            gate.failed(TimeoutError("late"))
        await trio.sleep(50)
        assert gate.fuse.breaker.state.name != "closed", "one long call had the link all the time"
        await trio.sleep(15)
        assert gate.fuse.breaker.state.name == "closed"


async def test_a_call_is_repeated_only_while_the_budget_of_its_service_lasts(
    autojump_clock: MockClock,
) -> None:
    async with open_shop(shop := Shop()) as (gate, client):
        shop.errors = [ConnectionResetError("reset") for _ in range(9)]
        with pytest.raises(Unavailable, match="budget is spent") as refused:
            await client.using(idempotent=True, timeout=60).call(ShopLink.buy, "tea")
        assert refused.value.sent is Sent.MAYBE
        assert len(shop.errors) == 6, "one attempt, and two more"
        assert (gate.retries.granted, gate.retries.calls, gate.retries.retrying) == (2, 0, 0)
        gate.retries.retrying = 3  # Others have all there is.
        with pytest.raises(Unavailable, match="budget is spent"):
            await client.using(idempotent=True, on_down=WAIT, timeout=60).call(ShopLink.buy, "tea")
        assert gate.retries.exhausted == 1
        shop.errors.clear()
        (await gate.wait_link(trio.current_time() + 5)).usable = False
        assert await client.using(on_down=WAIT).call(ShopLink.buy, "tea")


async def test_the_line_has_an_end(autojump_clock: MockClock) -> None:
    async with open_shop(Shop(takes=2.0)) as (_gate, client), trio.open_nursery() as nursery:
        for _ in range(101):
            nursery.start_soon(client.using(timeout=600).call, ShopLink.buy, "tea")
        await wait_all_tasks_blocked()
        with pytest.raises(PoolExhausted, match="100 calls stand in line"):
            await client.call(ShopLink.buy, "tea")


async def test_without_a_link_a_call_fails_fast_or_waits_as_it_chooses(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop(up=False)) as (_gate, client):
        await trio.sleep(10)
        with pytest.raises(Unavailable) as refused:
            await client.call(ShopLink.buy, "tea")
        error = refused.value
        assert error.retry_after is not None
        assert error.attempt > 2
        assert error.since == pytest.approx(0, abs=0.1)
        assert isinstance(error.cause, ConnectionRefusedError)
        shop.up = True
        assert await client.using(on_down=WAIT, timeout=60).call(ShopLink.buy, "tea") == "1 tea"


async def test_a_refusal_of_the_service_goes_to_the_caller_and_counts(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop()) as (gate, client):
        shop.errors = [Unavailable("shop", "stocktaking", sent=Sent.YES) for _ in range(5)]
        for _ in range(5):
            with pytest.raises(Unavailable, match="stocktaking"):
                await client.call(ShopLink.buy, "tea")
        assert gate.held is shop.links[0]
        with pytest.raises(CircuitOpen, match="stocktaking"):
            await client.call(ShopLink.buy, "tea")


async def test_a_bug_comes_out_as_it_is_and_its_link_is_not_used_again(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop()) as (_gate, client):
        shop.errors = [KeyError("bug")]
        with pytest.raises(KeyError):
            await client.call(ShopLink.buy, "tea")
        await client.using(on_down=WAIT).call(ShopLink.buy, "tea")
        assert len(shop.links) == 2


async def test_a_long_call_is_not_disturbed_by_probes(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop(takes=300.0)) as (_gate, client):
        assert await client.using(timeout=600).call(ShopLink.buy, "tea") == "1 tea"
        assert len(shop.links) == 1


async def test_a_probe_that_is_cut_off_closes_the_link_too(autojump_clock: MockClock) -> None:
    async with open_shop(shop := Shop()) as (_gate, client):
        shop.links[0].pings_in = 60.0  # Its answer would come late, and be taken for another's.
        await trio.sleep(45)
        assert shop.links[0].closed
        assert await client.call(ShopLink.buy, "tea") == "1 tea"


async def test_an_idle_link_that_is_not_as_it_was_left_is_replaced_before_anything_is_sent(
    autojump_clock: MockClock,
) -> None:
    async with open_shop(shop := Shop()) as (_gate, client):
        shop.links[0].usable = False
        assert await client.using(on_down=WAIT).call(ShopLink.buy, "tea") == "1 tea"
        assert len(shop.links) == 2


async def test_a_socket_that_was_closed_or_holds_a_late_answer_is_not_silent() -> None:
    async def talk(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for word in stream:
                await stream.send_all(word)
                if word == b"bye":
                    return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        for word in (b"late", b"bye"):
            stream = await dial("127.0.0.1", port)
            assert is_silent(stream)
            await stream.send_all(word)
            await trio.lowlevel.wait_readable(stream.socket)
            assert not is_silent(stream)
            assert await stream.receive_some() == word
            if word == b"bye":
                await trio.lowlevel.wait_readable(stream.socket)
            assert is_silent(stream) is (word == b"late")
            await stream.aclose()
        nursery.cancel_scope.cancel()


@attrs.define
class ShopConnection(Connection):
    shop: Shop

    async def on_start(self) -> None:
        self.keep("shop", self.shop.connect)

    async def crash(self) -> None:
        raise RuntimeError("on purpose")


SHOP = Name(ShopConnection, "shop")


async def test_a_client_finds_the_link_of_the_restarted_actor(autojump_clock: MockClock) -> None:
    client = LinkClient(SHOP, ShopLink, on_down=WAIT)
    shop = Shop()
    async with open_runtime(supervisor("app", child("shop", partial(ShopConnection, shop), name=SHOP))):
        assert await client.call(ShopLink.buy, "tea") == "1 tea"
        SHOP.cast(ShopConnection.crash)
        await wait_all_tasks_blocked()
        assert await client.call(ShopLink.buy, "tea") == "1 tea"
        assert len(shop.links) == 2
    with pytest.raises(LookupError):
        await client.using(timeout=1).call(ShopLink.buy, "tea")


async def test_a_client_for_links_of_another_class_says_so(autojump_clock: MockClock) -> None:
    async with open_shop(Shop()) as (gate, _client):
        wrong: LinkClient[SharedLink] = LinkClient(gate, SharedLink)  # type: ignore[arg-type]  # On purpose.
        with pytest.raises(TypeError, match="are ShopLink, not SharedLink"):
            await wrong.call(SharedLink.buy, "tea")


def test_a_deadline_is_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        LinkClient(SHOP, ShopLink, timeout=float("inf"))
