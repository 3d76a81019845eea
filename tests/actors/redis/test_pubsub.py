"""Subscriptions that survive the loss of their connection, and tell that messages may be missing."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoPermissionError

from resprout.actors.connection.on_down import WAIT
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.pubsub import Inbox, MaybeMissed, Message, Subscription
from resprout.runtime.errors import Unavailable
from resprout.testing.faultproxy import fault_proxy
from resprout.testing.servers import redis_server
from resprout.testing.toxics import BlackHole, Direction

real = pytest.mark.real


async def next_of(subscription: Subscription) -> Message | MaybeMissed:
    with trio.fail_after(10):
        return await anext(subscription)


@real
async def test_messages_come_in_order_by_channel_and_pattern(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        async with redis.subscribe("news", "sport", patterns=["user.*"]) as subscription:
            assert subscription.channels == {"news", "sport"}
            for number in range(100):
                await redis.publish("news", number)
            await redis.publish("user.ann", b"\xff")
            for number in range(100):
                assert await next_of(subscription) == Message("news", b"%d" % number)
            assert await next_of(subscription) == Message("user.ann", b"\xff", "user.*")
        assert gate.describe()["side_links"] == 0


@real
async def test_texts_are_decoded_if_the_client_decodes(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate, decode_responses=True)
        async with redis.subscribe("новости") as subscription:
            await redis.publish("новости", "привет")
            assert await next_of(subscription) == Message("новости", "привет")


@real
async def test_channels_come_and_go_while_it_runs(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        async with redis.subscribe("a") as subscription:
            await subscription.subscribe("b", patterns=["c*"])
            await subscription.unsubscribe("a")
            assert await redis.publish("a", 1) == 0
            assert await redis.publish("b", 2) == 1
            assert await redis.publish("cc", 3) == 1
            assert await next_of(subscription) == Message("b", b"2")
            assert await next_of(subscription) == Message("cc", b"3", "c*")
            await subscription.unsubscribe("b", patterns=["c*"])
            await subscription.subscribe("d")
            await redis.publish("d", 4)
            assert await next_of(subscription) == Message("d", b"4")
            assert (subscription.channels, subscription.patterns) == ({"d"}, set())


@real
async def test_after_every_loss_it_subscribes_again_and_says_so(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate, on_down=WAIT)
        async with redis.subscribe("a", patterns=["b*"]) as subscription:
            for number in range(3):
                await redis.client_kill_filter(_type="pubsub")
                assert isinstance(await next_of(subscription), MaybeMissed)
                assert await redis.publish("a", number) == 1
                assert await redis.publish("b", number) == 1
                assert (await next_of(subscription)).channel == "a"
                assert (await next_of(subscription)).channel == "b"
            redis_at.kill()
            await trio.sleep(0.1)
            await redis_at.restart()
            notice = await next_of(subscription)
            assert isinstance(notice, MaybeMissed)
            assert "lost" in notice.why
            await redis.publish("a", "back")
            assert await next_of(subscription) == Message("a", b"back")


@real
async def test_a_silent_peer_is_found_by_the_heartbeat(redis_at, kept) -> None:
    async with fault_proxy(redis_at.host, redis_at.port) as proxy:
        limits = LinkLimits(reply_timeout=0.3)
        async with kept(f"redis://{proxy.host}:{proxy.port}", limits=limits) as gate:
            redis = RedisClient(gate)
            async with redis.subscribe("a", heartbeat=0.1) as subscription, kept(redis_at.url) as direct:
                proxy.set(BlackHole(), on=Direction.REPLIES)
                await trio.sleep(0.6)
                await RedisClient(direct).publish("a", "into the void")
                await proxy.heal()
                assert isinstance(await next_of(subscription), MaybeMissed)
                await RedisClient(direct).publish("a", "back")
                assert await next_of(subscription) == Message("a", b"back")


@real
async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        async with redis.subscribe("a", max_messages=10) as subscription:
            for number in range(25):
                await redis.publish("a", number)
            await redis.publish("a", "last")
            with trio.fail_after(5):
                while (item := await next_of(subscription)) == Message("a", b"0"):
                    pass
            assert isinstance(item, MaybeMissed)
            assert item.dropped >= 15
            items = [await next_of(subscription) for _ in range(10)]
            assert items[-1] == Message("a", b"last")
            assert not any(isinstance(item, MaybeMissed) for item in items)


@real
async def test_while_redis_is_down_a_subscription_is_refused_or_waits(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate, timeout=5.0)
        redis_at.kill()
        await trio.sleep(0.05)
        with pytest.raises(Unavailable):
            async with redis.subscribe("a"):
                raise AssertionError("there is no server")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(redis_at.restart)
            async with redis.using(on_down=WAIT).subscribe("a") as subscription:
                await redis.using(on_down=WAIT).publish("a", 1)
                assert await next_of(subscription) == Message("a", b"1")


@real
async def test_channels_added_in_an_outage_are_there_after_it(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        async with redis.subscribe("a") as subscription:
            redis_at.kill()
            await trio.sleep(0.1)
            with pytest.raises(Unavailable, match="not subscribed"):
                await subscription.subscribe("b")
            await redis_at.restart()
            assert isinstance(await next_of(subscription), MaybeMissed)
            assert await redis.using(on_down=WAIT).publish("b", 1) == 1
            assert await next_of(subscription) == Message("b", b"1")


@real
async def test_what_the_server_refuses_is_an_error_and_not_tried_for_ever(kept) -> None:
    async with redis_server(fsync="no") as server, kept(server.url) as gate:
        redis = RedisClient(gate)
        await redis.acl_setuser("bob", enabled=True, nopass=True, categories=["+@all"], channels=["ok"])
        async with kept(f"redis://bob:x@{server.host}:{server.port}") as bobs:
            bob = RedisClient(bobs)
            with pytest.raises(NoPermissionError):
                async with bob.subscribe("secret"):
                    raise AssertionError("it must not begin")
            async with bob.subscribe("ok") as subscription:
                with pytest.raises(NoPermissionError):
                    await subscription.subscribe("secret")
                assert subscription.channels == {"ok"}
                assert isinstance(await next_of(subscription), MaybeMissed)
                await redis.publish("ok", 1)
                assert await next_of(subscription) == Message("ok", b"1")


@real
async def test_the_error_of_a_block_comes_out_as_it_is_and_a_cancel_passes(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate:
        redis = RedisClient(gate)
        with pytest.raises(LookupError, match="mine"):
            async with redis.subscribe("a"):
                raise LookupError("mine")
        with trio.move_on_after(0.05) as scope:
            async with redis.subscribe("a") as subscription:
                await anext(subscription)
        assert scope.cancelled_caught
        await trio.sleep(0.05)
        assert await redis.publish("a", 1) == 0


@real
async def test_it_ends_when_its_connection_is_stopped_for_good(redis_at, kept) -> None:
    async with kept(redis_at.url) as gate, RedisClient(gate).subscribe("a") as subscription:
        gate.drain()
        with pytest.raises(Unavailable):
            await next_of(subscription)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "at least one"),
        ({"patterns": ["a"], "max_messages": 0}, "max_messages"),
        ({"patterns": "a", "heartbeat": 0}, "heartbeat"),
    ],
)
async def test_a_subscription_to_nothing_is_refused(given: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RedisClient(None).subscribe(**given)  # type: ignore[arg-type]  # Not asked for anything.


@given(st.lists(st.integers(0, 30) | st.none(), max_size=60), st.integers(1, 5), st.integers(1, 60))
def test_an_inbox_is_bounded_and_accounts_for_every_message(
    steps: list[int | None], max_messages: int, max_bytes: int
) -> None:
    inbox, put, got, dropped = Inbox(max_messages, max_bytes), [], [], 0
    for step in [*steps, *[None] * 20]:
        if step is not None:
            put.append([b"%d" % len(put), b"x" * step])
            inbox.add(put[-1])
            assert len(inbox._items) <= max_messages
            assert inbox._bytes <= max_bytes or len(inbox._items) == 1
        elif isinstance(item := inbox.take(), MaybeMissed):
            dropped += item.dropped
            got += [None] * item.dropped
        elif item is not None:
            got.append(item)
    assert len(got) == len(put), "each message comes out or is counted"
    assert all(item is None or item == put[place] for place, item in enumerate(got)), "where it was missed"
