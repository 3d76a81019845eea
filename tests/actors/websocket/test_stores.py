"""What every store promises: the same suite on memory and on a real Redis."""

import pytest
import trio
from redis.exceptions import ResponseError

from resprout.actors.websocket.errors import QueueFull, StreamChanged
from resprout.actors.websocket.law import Counts, check_conservation
from resprout.actors.websocket.redis_store import RedisStore
from resprout.actors.websocket.store import Failure, NewMessage, Store
from resprout.runtime.errors import Unavailable


def new(id: str, *, expires_at: float | None = None, data: bytes = b"{}", dedupe: float = 60.0) -> NewMessage:
    return NewMessage(id=id, data=data, expires_at=expires_at, dedupe=dedupe)


async def filled(store: Store, count: int, stream: str = "ann") -> str:
    """A stream with messages ``m1`` to ``m<count>``; returns its epoch."""
    await store.append(stream, [new(f"m{n}") for n in range(1, count + 1)])
    return (await store.open(stream)).epoch


async def read_ids(store: Store, epoch: str, after: int = 0, stream: str = "ann") -> list[tuple[int, str]]:
    page = await store.read(stream, epoch, after, count=100, size=1_000_000)
    return [(message.seq, message.id) for message in page]


async def test_messages_are_numbered_in_order_and_read_back(store: Store) -> None:
    assert await store.append("ann", [new("a", data=b'{"x": "\xc3\xa9\\n"}'), new("b")]) == (1, 2)
    assert await store.append("ann", [new("c", expires_at=4e9)]) == (3,)
    epoch = (await store.open("ann")).epoch
    page = await store.read("ann", epoch, 0, count=10, size=10_000)
    assert [(m.seq, m.id, m.data, m.expires_at) for m in page] == [
        (1, "a", b'{"x": "\xc3\xa9\\n"}', None),
        (2, "b", b"{}", None),
        (3, "c", b"{}", 4e9),
    ]
    assert await read_ids(store, epoch, after=2) == [(3, "c")]


async def test_streams_do_not_see_each_other(store: Store) -> None:
    await filled(store, 2, "ann")
    epoch = await filled(store, 1, "bob")
    assert await read_ids(store, epoch, stream="bob") == [(1, "m1")]
    assert await store.append("a:b", [new("c")]) == (1,)
    assert await store.append("a", [new("b:c")]) == (1,)
    assert (await store.open("a")).last == 1


async def test_a_message_with_a_known_id_is_not_stored_again(store: Store) -> None:
    assert await store.append("ann", [new("a"), new("b")]) == (1, 2)
    assert await store.append("ann", [new("b"), new("c"), new("c")]) == (2, 3, 3)
    epoch = (await store.open("ann")).epoch
    await store.ack("ann", epoch, 3)
    assert await store.append("ann", [new("a")]) == (1,)
    assert await store.counts() == Counts(accepted=3, acked=3)


async def test_an_id_is_forgotten_after_its_time(store: Store) -> None:
    await store.append("ann", [new("a", dedupe=0.05)])
    await trio.sleep(0.1)
    assert await store.append("ann", [new("a", dedupe=0.05)]) == (2,)


async def test_a_page_ends_at_its_size_but_never_before_its_first_message(store: Store) -> None:
    await store.append("ann", [new(f"m{n}", data=b'"' + b"x" * 1000 + b'"') for n in range(5)])
    epoch = (await store.open("ann")).epoch
    assert len(await store.read("ann", epoch, 0, count=10, size=3 * 1300)) == 3
    assert len(await store.read("ann", epoch, 0, count=10, size=1)) == 1
    assert len(await store.read("ann", epoch, 0, count=2, size=100_000)) == 2


async def test_acknowledging_settles_everything_up_to_it_once(store: Store) -> None:
    epoch = await filled(store, 5)
    assert await store.ack("ann", epoch, 3) == 3
    assert await store.ack("ann", epoch, 3) == 0
    assert await store.ack("ann", epoch, 2) == 0
    assert await read_ids(store, epoch) == [(4, "m4"), (5, "m5")]
    head = await store.open("ann")
    assert (head.last, head.floor) == (5, 3)
    await store.ack("ann", epoch, 5)
    head = await store.open("ann")
    assert (head.last, head.floor) == (5, 5)


async def test_another_epoch_is_not_touched(store: Store) -> None:
    await filled(store, 2)
    with pytest.raises(StreamChanged):
        await store.ack("ann", "other", 2)
    with pytest.raises(StreamChanged):
        await store.read("ann", "other", 0, count=1, size=1)
    with pytest.raises(StreamChanged):
        await store.bury("ann", "other", 1, "why", 0.0)
    assert (await store.counts()).pending == 2


async def test_a_failed_message_keeps_its_history_and_a_repeated_report_counts_once(store: Store) -> None:
    epoch = await filled(store, 2)
    first, second = Failure(at=1.5, reason='no\n"way"'), Failure(at=2.5, reason="no")
    assert await store.fail("ann", epoch, 1, first) == (first,)
    assert await store.fail("ann", epoch, 1, second) == (first, second)
    assert await store.fail("ann", epoch, 1, second) == (first, second)
    await store.ack("ann", epoch, 1)
    assert await store.fail("ann", epoch, 1, second) == ()


async def test_a_dead_letter_keeps_everything_and_can_be_redriven(store: Store) -> None:
    epoch = await filled(store, 3)
    failure = Failure(at=1.5, reason="no")
    await store.fail("ann", epoch, 2, failure)
    assert await store.bury("ann", epoch, 2, "gave up", 9.25)
    assert not await store.bury("ann", epoch, 2, "gave up", 9.25)
    (letter,) = await store.dead_letters("ann")
    assert (letter.seq, letter.id, letter.data, letter.reason, letter.failures, letter.at) == (
        2,
        "m2",
        b"{}",
        "gave up",
        (failure,),
        9.25,
    )
    assert await store.counts() == Counts(accepted=3, pending=2, dead=1)
    assert await store.redrive("ann", ["unknown"]) == 0
    assert await store.redrive("ann", []) == 0
    assert await store.redrive("ann", ["m2"]) == 1
    assert await store.redrive("ann", ["m2"]) == 0
    assert await read_ids(store, epoch) == [(1, "m1"), (3, "m3"), (4, "m2")]
    assert await store.counts() == Counts(accepted=3, pending=3, redriven=1)
    assert await store.dead_letters("ann") == ()


async def test_all_dead_letters_are_redriven_in_their_old_order(store: Store) -> None:
    epoch = await filled(store, 12)
    for seq in (11, 2, 9):
        await store.bury("ann", epoch, seq, "why", 0.0)
    assert len(await store.dead_letters("ann", limit=2)) == 2
    assert await store.redrive("ann") == 3
    assert [id for _, id in await read_ids(store, epoch, after=12)] == ["m2", "m9", "m11"]


async def test_two_dead_letters_of_one_id_are_both_kept(store: Store) -> None:
    await store.append("ann", [new("a", dedupe=0.05)])
    await trio.sleep(0.1)
    await store.append("ann", [new("a", dedupe=0.05)])
    epoch = (await store.open("ann")).epoch
    assert await store.bury("ann", epoch, 1, "why", 0.0)
    assert await store.bury("ann", epoch, 2, "why", 0.0)
    assert (await store.counts()).dead == 2
    assert await store.redrive("ann", ["a"]) == 2
    check_conservation(await store.audit())


@pytest.mark.real
async def test_a_redis_that_refuses_to_write_is_away_and_no_bug(redis_store: RedisStore) -> None:
    epoch = await filled(redis_store, 1)
    await redis_store.redis.config_set("min-replicas-to-write", 1)
    with pytest.raises(Unavailable, match="NOREPLICAS"):
        await redis_store.append("ann", [new("b")])
    with pytest.raises(Unavailable):
        await redis_store.ack("ann", epoch, 1)
    await redis_store.redis.config_set("min-replicas-to-write", 0)
    assert await redis_store.append("ann", [new("b")]) == (2,)
    await redis_store.redis.set("{test}:m:bob", "no hash")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await redis_store.append("bob", [new("c")])


@pytest.mark.real
async def test_a_redis_that_does_not_show_its_settings_may_be_weak(redis_store: RedisStore) -> None:
    await redis_store.redis.execute_command("ACL", "SETUSER", "default", "-config")
    try:
        (weakness,) = await redis_store.weaknesses()
        assert "cannot be seen" in weakness
    finally:
        await redis_store.redis.execute_command("ACL", "SETUSER", "default", "+config")


@pytest.mark.real
async def test_expired_messages_that_are_many_go_at_once_and_settled_ones_cost_nothing(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resprout.actors.websocket.redis_store.EXPIRE_AT_ONCE", 3)
    epoch = await filled(redis_store, 0)
    for n in range(10):
        await redis_store.append("ann", [new(f"m{n}", expires_at=100.0)])
    await redis_store.ack("ann", epoch, 5)
    assert await redis_store.expire(100.0) == ("ann",)
    assert await redis_store.counts() == Counts(accepted=10, acked=5, expired=5)


async def test_messages_beyond_their_time_expire_and_are_counted(store: Store) -> None:
    await store.append("ann", [new("a", expires_at=100.0), new("b", expires_at=200.0), new("c")])
    await store.append("bob with a blank", [new("d", expires_at=100.0)])
    assert set(await store.expire(99.9)) == set()
    assert set(await store.expire(100.0)) == {"ann", "bob with a blank"}
    assert await store.counts() == Counts(accepted=4, pending=2, expired=2)
    epoch = (await store.open("ann")).epoch
    assert await read_ids(store, epoch) == [(2, "b"), (3, "c")]
    await store.ack("ann", epoch, 2)
    assert await store.expire(300.0) == ()
    assert await store.counts("ann") == Counts(accepted=3, acked=1, pending=1, expired=1)


async def test_a_full_stream_refuses_more_and_keeps_what_it_has(store: Store) -> None:
    epoch = await filled(store, 48)
    with pytest.raises(QueueFull) as caught:
        await store.append("ann", [new(f"more{n}") for n in range(5)])
    assert caught.value.stream == "ann"
    assert caught.value.retry_after is not None
    assert await store.append("ann", [new("m48")]) == (48,)  # Known, so nothing new.
    await store.ack("ann", epoch, 10)
    assert await store.append("ann", [new(f"more{n}") for n in range(5)]) == (49, 50, 51, 52, 53)
    check_conservation(await store.audit())


async def test_a_full_store_refuses_more_for_any_stream(store: Store) -> None:
    await filled(store, 45, "ann")
    await filled(store, 30, "bob")
    with pytest.raises(QueueFull) as caught:
        await store.append("eve", [new(f"m{n}") for n in range(10)])
    assert caught.value.stream is None


async def test_a_store_that_forgot_messages_starts_a_new_epoch_beyond_them(store: Store) -> None:
    epoch = await filled(store, 2)
    head = await store.renew_epoch("ann", epoch, 7)
    assert head.epoch != epoch
    assert (head.last, head.floor) == (7, 0)
    assert await store.renew_epoch("ann", epoch, 99) == head  # Somebody was faster.
    assert await store.append("ann", [new("m8")]) == (8,)
    assert await read_ids(store, head.epoch) == [(1, "m1"), (2, "m2"), (8, "m8")]


async def test_the_books_can_be_proven_by_counting(store: Store) -> None:
    for stream in ("ann", "bob"):
        epoch = await filled(store, 10, stream)
        await store.ack(stream, epoch, 3)
        await store.bury(stream, epoch, 5, "why", 0.0)
    books = await store.audit()
    assert books == await store.counts() == Counts(accepted=20, acked=6, pending=12, dead=2)
    check_conservation(books)


async def test_concurrent_producers_get_different_places(store: Store) -> None:
    places: list[int] = []

    async def produce(worker: int) -> None:
        for n in range(8):
            places.extend(await store.append("ann", [new(f"{worker}.{n}")]))

    async with trio.open_nursery() as nursery:
        for worker in range(6):
            nursery.start_soon(produce, worker)
    assert sorted(places) == list(range(1, 49))


@pytest.mark.real
async def test_a_redis_without_memory_refuses_messages_and_still_lets_clients_empty_it(
    redis_store, site
) -> None:
    await filled(redis_store, 3)
    await redis_store.redis.config_set("maxmemory", 1)
    with pytest.raises(QueueFull) as caught:
        await redis_store.append("ann", [new("more")])
    assert caught.value.retry_after is not None
    async with site(redis_store) as server, server.client("ann") as client:
        with trio.fail_after(5):
            for _ in range(3):
                await client.__anext__()
            client.acknowledge()
            while (await redis_store.counts()).acked < 3:
                await trio.sleep(0.01)
    await redis_store.redis.config_set("maxmemory", 0)
    assert await redis_store.append("ann", [new("more")]) == (4,)
    check_conservation(await redis_store.audit())
