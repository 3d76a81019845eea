"""LISTEN through outages: what is heard, and that a gap is told."""

from typing import TYPE_CHECKING

import pytest
import trio

from resprout.actors.connection import KeeperPolicy
from resprout.actors.postgres import (
    WAIT,
    Missed,
    Notice,
    Notification,
    Notifications,
    PoolPolicy,
    PostgresClient,
)
from resprout.runtime import Draining, Unavailable
from resprout.testing import LocalServer

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import Keep


async def following(notifications: Notifications) -> Notification | Missed:
    with trio.fail_after(20):
        return await anext(notifications)


@pytest.mark.real
async def test_notifications_come_in_order_and_a_gap_is_told_after_a_kill_9(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with kept(postgres_server.url, PoolPolicy(max_size=1)) as it:
        db = PostgresClient(it.gate, on_down=WAIT, timeout=20, acquire_timeout=20)
        async with db.listen("jobs", 'odd "name"') as notifications:
            for n in range(3):
                await db.execute("SELECT pg_notify('jobs', $1)", str(n))
            await db.execute("SELECT pg_notify('odd \"name\"', '')")
            heard = [await following(notifications) for _ in range(4)]
            assert [(each.channel, each.payload) for each in heard if isinstance(each, Notification)] == [
                *(("jobs", str(n)) for n in range(3)),
                ('odd "name"', ""),
            ]
            postgres_server.kill()
            await postgres_server.restart()
            assert isinstance(await following(notifications), Missed)
            await db.execute("SELECT pg_notify('jobs', 'again')")
            again = await following(notifications)
            assert isinstance(again, Notification)
            assert again.payload == "again"
        with trio.fail_after(10):
            while await db.fetchval(LISTENERS):
                await trio.sleep(0.02)


LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%listens'"


@pytest.mark.real
async def test_a_server_that_hangs_is_found_by_a_probe(kept: "Keep", postgres_server: LocalServer) -> None:
    keeper = KeeperPolicy(probe_every=0.2, probe_timeout=0.3)
    async with kept(postgres_server.url, PoolPolicy(keeper=keeper)) as it:
        db = PostgresClient(it.gate, on_down=WAIT, timeout=20, acquire_timeout=20)
        async with db.listen("jobs") as notifications:
            postgres_server.freeze()
            await trio.sleep(2.5)
            postgres_server.thaw()
            assert isinstance(await following(notifications), Missed)


@pytest.mark.real
async def test_an_error_of_the_block_comes_out_as_it_is(kept: "Keep", postgres_server: LocalServer) -> None:
    async with kept(postgres_server.url) as it:
        db = PostgresClient(it.gate, acquire_timeout=20)
        with pytest.raises(KeyError, match="mine"):
            async with db.listen("jobs"):
                raise KeyError("mine")
        with trio.move_on_after(0.1) as scope:
            async with db.listen("jobs") as notifications:
                await anext(notifications)
        assert scope.cancelled_caught
        with pytest.raises(ValueError, match="at least one channel"):
            async with db.listen():
                pass


@pytest.mark.real
async def test_a_listener_ends_with_a_typed_error_when_its_pool_is_drained(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with kept(postgres_server.url) as it:
        db = PostgresClient(it.gate, acquire_timeout=20)
        heard: list[Notice] = []
        with trio.fail_after(10), pytest.raises((Draining, Unavailable)) as caught:
            async with db.listen("jobs") as notifications:
                await db.execute("NOTIFY jobs, 'last'")
                heard.append(await anext(notifications))
                it.gate.drain()
                async for notice in notifications:
                    heard.append(notice)
        assert [notice.payload for notice in heard if isinstance(notice, Notification)] == ["last"]
        assert caught.value.retry_after is None or isinstance(caught.value, Draining)


async def test_a_full_buffer_gives_way_to_a_notice_that_counts_what_it_dropped() -> None:
    notifications = Notifications(3)
    for n in range(8):
        notifications._put(Notification("jobs", str(n), 1))
    taken = [await anext(notifications), await anext(notifications)]
    # Full at 3, so that 0 to 3 went; full again with that notice, 4 and 5, so that these and 6 went.
    assert isinstance(taken[0], Missed)
    assert taken[0].dropped == 7
    assert taken[1] == Notification("jobs", "7", 1)
    with pytest.raises(ValueError, match="buffer must be at least 1, not 0"):
        Notifications(0)
