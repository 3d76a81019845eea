"""Server and client on real sockets: resume, order, slow readers, takeovers, vanished clients."""

import contextlib
import json

import attrs
import pytest
import trio
from trio_websocket import ConnectionClosed, open_websocket_url

from resprout.actors.websocket.acceptor import ServerPolicy
from resprout.actors.websocket.client import ClientPolicy, Superseded, connect
from resprout.actors.websocket.events import ConnectionBroken, MessageDied, SessionEnded, StoreAway
from resprout.actors.websocket.hub import Hub, QueuePolicy
from resprout.actors.websocket.law import Counts
from resprout.actors.websocket.memory_store import MemoryStore
from resprout.actors.websocket.receiver import Delivery, Lost, Restarted
from resprout.actors.websocket.resume import Position
from resprout.actors.websocket.session import SessionPolicy
from resprout.actors.websocket.store import Head, NewMessage
from resprout.actors.websocket.wire import Ack, FromClient, decode_from_client
from resprout.runtime.errors import Unavailable
from tests.actors.websocket.helpers import eventually, hub_with, take, until

pytestmark = pytest.mark.real


async def test_messages_arrive_in_order_and_are_acknowledged(site, store) -> None:
    async with site(store) as server:
        for n in range(5):
            assert await server.hub.enqueue("ann", {"n": n}) == n + 1
        async with server.client() as client:
            assert await take(client, 5) == [{"n": n} for n in range(5)]
            await eventually(server.hub, Counts(accepted=5, acked=4, in_flight=1))
            await server.hub.enqueue("ann", "live")
            assert await take(client, 1) == ["live"]
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=6, acked=6))


async def test_leaving_tells_the_server_what_is_done(site) -> None:
    async with site() as server:
        for n in range(3):
            await server.hub.enqueue("ann", n)
        async with server.client() as client:
            assert await take(client, 2) == [0, 1]
            client.acknowledge()
        await eventually(server.hub, Counts(accepted=3, acked=2, pending=1))
        async with server.client() as client:
            assert await take(client, 1) == [2]


async def test_a_message_in_hand_when_the_client_ends_comes_again(site) -> None:
    async with site() as server:
        await server.hub.enqueue("ann", "precious")
        with pytest.raises(ZeroDivisionError):
            async with server.client() as client:
                async for _ in client:
                    raise ZeroDivisionError
        async with server.client() as client:
            assert await take(client, 1) == ["precious"]


async def test_a_server_that_comes_back_goes_on_where_it_was(site, store) -> None:
    async with site(store) as server:
        await server.hub.enqueue("ann", 0)
        async with server.client() as client:
            assert await take(client, 1) == [0]
            server.crash()
            await until(lambda: not client.connected)
            await server.hub.enqueue("ann", 1)  # Accepted while no server is there.
            await server.start()
            await server.hub.enqueue("ann", 2)
            await until(lambda: client.sessions == 2)
            assert await take(client, 2) == [1, 2]  # And 0, still in hand, not again.
            assert client.duplicates == 1
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=3, acked=3))
            assert client.sessions == 2


async def test_many_crashes_lose_and_reorder_nothing(site, store) -> None:
    async with site(store) as server, server.client() as client:
        got: list[object] = []

        async def produce() -> None:
            for n in range(48):
                await server.hub.enqueue("ann", n)
                await trio.sleep(0.01)

        async def crash() -> None:
            for _ in range(4):
                await trio.sleep(0.12)
                server.crash()
                await server.start()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            nursery.start_soon(crash)
            while len(got) < 48:
                got += await take(client, 1)
        client.acknowledge()
        assert got == list(range(48))
        assert client.sessions > 1
        await eventually(server.hub, Counts(accepted=48, acked=48))


async def test_another_process_resumes_from_the_position_it_was_given(site) -> None:
    async with site() as server:
        for n in range(4):
            await server.hub.enqueue("ann", n)
        async with server.client() as client:
            await take(client, 2)
            position = client.position
        assert position is not None
        assert position.seq == 1
        async with server.client(position=attrs.evolve(position, seq=3)) as client:
            assert await take(client, 1) == [3]
            await eventually(server.hub, Counts(accepted=4, acked=3, in_flight=1))


async def test_what_is_missing_is_named(site) -> None:
    async with site() as server:
        hub = server.hub
        for n in range(1, 6):
            await hub.enqueue("ann", n)
        epoch = (await hub.store.open("ann")).epoch
        await hub.store.bury("ann", epoch, 2, "test", 0.0)
        await hub.store.bury("ann", epoch, 3, "test", 0.0)
        async with server.client() as client:
            assert await take(client, 4) == [1, Lost(2, 3, epoch), 4, 5]
            await hub.redrive("ann")
            assert await take(client, 2) == [2, 3]


async def test_a_position_before_what_is_settled_gets_an_explicit_gap(site) -> None:
    async with site() as server:
        for n in range(1, 6):
            await server.hub.enqueue("ann", n)
        async with server.client() as client:
            await take(client, 4)
            position = client.position
        assert position is not None
        async with server.client(position=attrs.evolve(position, seq=1)) as client:
            assert await take(client, 2) == [Lost(2, 3, position.epoch), 4]


async def test_a_store_that_lost_messages_makes_the_client_start_anew(site, redis_store) -> None:
    async with site(redis_store) as server:
        for n in range(3):
            await server.hub.enqueue("ann", n)
        async with server.client() as client:
            assert await take(client, 3) == [0, 1, 2]
            client.acknowledge()
            old = client.position
            assert old is not None
            server.crash()
            await redis_store.redis.flushall()
            await server.hub.enqueue("ann", "after the loss")
            await server.start()
            (restarted, after) = await take(client, 2)
            assert isinstance(restarted, Restarted)
            assert after == "after the loss"
            assert client.position is not None
            assert client.position.epoch != old.epoch


async def test_no_claim_of_a_client_can_use_up_the_numbers_of_its_stream(site, store) -> None:
    async with site(store) as server:
        for _ in range(3):
            head = await store.open("ann")
            async with open_websocket_url(server.url) as liar:
                hello = {"type": "hello", "v": 1, "token": "ann", "epoch": head.epoch, "seq": 2**53 - 1}
                await liar.send_message(json.dumps(hello))
                assert json.loads(await liar.get_message())["type"] == "welcome"
        await server.hub.enqueue("ann", "still served")
        async with server.client() as client:
            assert await take(client, 1) == ["still served"]
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=1, acked=1))
            assert client.sessions == 1


async def test_a_stream_that_begins_anew_under_a_session_is_no_crash(site) -> None:
    async with site() as server:
        for n in range(2):
            await server.hub.enqueue("ann", n)
        async with server.client() as client:
            assert await take(client, 2) == [0, 1]
            head = await server.hub.store.open("ann")
            await server.hub.store.renew_epoch("ann", head.epoch, 0)
            client.acknowledge()
            (restarted,) = await take(client, 1)
            assert isinstance(restarted, Restarted)
        assert next(event.code for event in server.events if isinstance(event, SessionEnded)) == 1013
        assert not [event for event in server.events if isinstance(event, ConnectionBroken)]


class RacyFirstAck(MemoryStore):
    """Another process starts a new epoch between the first `open` and the `ack` that follows it."""

    raced = False

    async def ack(self, stream: str, epoch: str, through: int) -> int:
        if not self.raced:
            self.raced = True
            await self.renew_epoch(stream, epoch, 0)
        return await super().ack(stream, epoch, through)


async def test_a_stream_that_begins_anew_while_a_session_opens_is_no_crash(site) -> None:
    async with site(RacyFirstAck()) as server:
        await server.hub.enqueue("ann", 0)
        head = await server.hub.store.open("ann")
        async with server.client(position=Position(head.epoch, 1)) as client:
            assert isinstance((await take(client, 1))[0], Restarted)
        assert not [event for event in server.events if isinstance(event, ConnectionBroken)]


async def test_a_stream_is_served_to_its_newest_session_only(site) -> None:
    async with site() as server:
        async with server.client() as first:
            await until(lambda: first.connected)
            async with server.client() as second:
                await until(lambda: second.connected)
                await server.hub.enqueue("ann", "for the newest")
                assert await take(second, 1) == ["for the newest"]
                with pytest.raises(Superseded):
                    await take(first, 1)
        assert server.hub.sessions == 0


class SlowFirstOpen(MemoryStore):
    """A store that is away for the first session that opens."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.back = trio.Event(), trio.Event()

    async def open(self, stream: str) -> Head:
        if not self.asked.is_set():
            self.asked.set()
            await self.back.wait()
        return await super().open(stream)


async def test_a_session_that_opens_late_does_not_throw_its_successor_out(site) -> None:
    store = SlowFirstOpen()
    async with site(store) as server, open_websocket_url(server.url) as abandoned:
        await abandoned.send_message('{"type":"hello","v":1,"token":"ann"}')
        await store.asked.wait()
        async with server.client() as client:
            await until(lambda: client.connected)
            store.back.set()
            with trio.fail_after(5), contextlib.suppress(ConnectionClosed):
                while True:
                    await abandoned.get_message()
            assert abandoned.closed.code == 4409
            await server.hub.enqueue("ann", "for the newest")
            assert await take(client, 1) == ["for the newest"]
            assert client.sessions == 1


async def test_a_rejected_message_comes_again_in_order_and_dies_in_the_end(site) -> None:
    async with site(hub=hub_with(max_failures=3)) as server:
        for n in range(1, 4):
            await server.hub.enqueue("ann", n)
        async with server.client() as client:
            seen: list[object] = []
            async for item in client:
                assert isinstance(item, Delivery | Lost)
                seen.append(item.data if isinstance(item, Delivery) else item)
                if isinstance(item, Delivery) and item.data == 2:
                    client.reject("not today")
                if isinstance(item, Delivery) and item.data == 3:
                    break
            assert seen == [1, 2, 2, 2, Lost(2, 2, item.epoch), 3]
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=3, acked=2, dead=1))
        (letter,) = await server.hub.store.dead_letters("ann")
        assert letter.reason == "failed 3 times, last: not today"
        assert [failure.reason for failure in letter.failures] == ["not today"] * 3
        assert [event.seq for event in server.events if isinstance(event, MessageDied)] == [2]


async def test_a_permanent_rejection_kills_at_once(site) -> None:
    async with site() as server:
        await server.hub.enqueue("ann", "poison")
        await server.hub.enqueue("ann", "food")
        async with server.client() as client:
            await take(client, 1)
            client.reject("cannot read it", permanent=True)
            lost, food = await take(client, 2)
            assert isinstance(lost, Lost)
            assert food == "food"


async def test_a_redriven_message_that_was_processed_is_not_handed_out_twice(site) -> None:
    async with site() as server:
        await server.hub.enqueue(
            "ann",
            "once",
            id="x",
        )
        async with server.client() as client:
            assert await take(client, 1) == ["once"]
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=1, acked=1))
            await server.hub.store.append("ann", [NewMessage(id="y", data=b'"other"')])
            # The same id again, as after its 24 hours: stored again, but not handed out again.
            server.hub.store._ids.clear()
            await server.hub.enqueue("ann", "once", id="x")
            await server.hub.enqueue("ann", "last")
            assert await take(client, 2) == ["other", "last"]
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=4, acked=4))


async def test_an_expired_message_is_named_and_counted(site) -> None:
    async with site() as server:
        hub = server.hub
        await hub.enqueue("ann", "stale", expires_in=0.01)
        await hub.enqueue("ann", "fresh", expires_in=100)
        await trio.sleep(0.05)
        async with server.client() as client:
            lost, fresh = await take(client, 2)
            assert isinstance(lost, Lost)
            assert fresh == "fresh"
            client.acknowledge()
            await eventually(hub, Counts(accepted=2, acked=1, expired=1))


async def test_a_client_that_vanishes_without_a_word_is_found(site) -> None:
    session = SessionPolicy(heartbeat=0.2, heartbeat_deadline=0.2)
    async with site(policy=ServerPolicy(session=session)) as server:
        with contextlib.suppress(ConnectionClosed):
            async with open_websocket_url(server.url) as socket:
                await socket.send_message('{"type":"hello","v":1,"token":"ann"}')
                await until(lambda: server.hub.sessions == 1)
                await until(lambda: server.hub.sessions == 0)  # It answers no ping.
        ended = [event for event in server.events if isinstance(event, SessionEnded)]
        assert [event.reason for event in ended] == ["no answer to a ping"]


async def test_a_client_that_answers_pings_stays(site) -> None:
    session = SessionPolicy(heartbeat=0.1, heartbeat_deadline=0.2)
    async with site(policy=ServerPolicy(session=session)) as server, server.client() as client:
        await until(lambda: client.connected)
        await trio.sleep(0.8)
        assert client.sessions == 1


async def test_offline_time_burns_no_attempts(site) -> None:
    async with site(hub=hub_with(max_failures=2)) as server:
        await server.hub.enqueue("ann", "patient")
        async with server.client() as client:
            assert await take(client, 1) == ["patient"]
            for sessions in range(2, 6):
                server.crash()
                await server.start()
                await until(lambda sessions=sessions: client.sessions >= sessions)
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=1, acked=1))


async def test_a_new_hub_takes_over_without_the_client_noticing(site) -> None:
    async with site() as server:
        await server.hub.enqueue("ann", 1)
        async with server.client() as client:
            assert await take(client, 1) == [1]
            old, server.hub = server.hub, Hub(server.hub.store)
            old.close()
            await server.hub.enqueue("ann", 2)
            assert await take(client, 1) == [2]
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=2, acked=2))
            assert client.sessions == 1


async def test_messages_of_another_process_are_found_without_a_hint(site, store) -> None:
    here, there = Hub(store, QueuePolicy(poll=0.1)), Hub(store)
    async with site(hub=here) as server, server.client() as client:
        await until(lambda: client.connected)
        await there.enqueue("ann", "from afar")
        assert await take(client, 1) == ["from afar"]


async def test_an_outage_is_reported_once_a_second_and_not_by_each_session(site) -> None:
    class Away(MemoryStore):
        away = False

        async def read(self, *args, **options):
            if self.away:
                raise Unavailable("memory", "is away")
            return await super().read(*args, **options)

    store = Away()
    async with site(store) as server, server.client("ann") as ann, server.client("bob") as bob:
        await until(lambda: ann.connected and bob.connected)
        store.away = True
        await server.hub.enqueue("ann", 1)
        await server.hub.enqueue("bob", 1)
        await trio.sleep(0.3)
        assert len([event for event in server.events if isinstance(event, StoreAway)]) == 1
        store.away = False
        assert await take(ann, 1) == await take(bob, 1) == [1]
        assert ann.sessions == bob.sessions == 1


async def test_acknowledgements_of_a_busy_client_travel_together(site, monkeypatch) -> None:
    acks = list[int]()

    def noting(text: str | bytes) -> FromClient:
        frame = decode_from_client(text)
        if isinstance(frame, Ack):
            acks.append(frame.seq)
        return frame

    monkeypatch.setattr("resprout.actors.websocket.session.decode_from_client", noting)
    async with site() as server:
        for n in range(100):
            await server.hub.enqueue("ann", n)
        async with connect(server.url, "ann", policy=ClientPolicy(ack_delay=0.2)) as client:
            for _ in range(100):
                await take(client, 1)
                await trio.sleep(0.001)
            client.acknowledge()
            await eventually(server.hub, Counts(accepted=100, acked=100))
    assert len(acks) <= 6
