"""Finding the master through Sentinel, with a real Sentinel, a real replica and a master that is killed."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from resprout.actors.connection.on_down import WAIT
from resprout.actors.process import recipes
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.connect import NoMaster, RedisConnect
from resprout.actors.redis.endpoint import Endpoint
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.sentinel import SentinelGroup, parse_source
from resprout.runtime.errors import OutcomeUnknown, ServiceError
from resprout.testing.servers import LocalServer, redis_server, server


def test_a_url_names_sentinels_and_their_master() -> None:
    source = parse_source("redis+sentinel://ann:p%40ss@one,two:5000,[::1]/orders/3?sentinel_password=a%2Fb")
    assert isinstance(source, SentinelGroup)
    assert [(each.host, each.port) for each in source.sentinels] == [
        ("one", 26379),
        ("two", 5000),
        ("::1", 26379),
    ]
    assert {each.password for each in source.sentinels} == {"a/b"}
    assert source.at("m", 1) == Endpoint(host="m", port=1, db=3, username="ann", password="p@ss")
    assert not {"p@ss", "a/b"} & set(str(source).split() + repr(source).split("'"))
    secure = parse_source("rediss+sentinel://one/orders?ca_file=/ca.pem")
    assert isinstance(secure, SentinelGroup)
    assert secure.sentinels[0].tls
    assert secure.at("m", 1).ca_file == "/ca.pem"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://one:26379", "master's name"),
        ("redis+sentinel://one,,two/orders", "is missing"),
        ("redis+sentinel:///orders", "is missing"),
        ("redis+sentinel://one:port/orders", "port must be a number"),
        ("redis+sentinel://one/orders/x", "whole number"),
        ("redis+sentinel://one/orders?x=1", "unknown option"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RedisConnect(url)


@asynccontextmanager
async def sentinel_of(master: LocalServer) -> AsyncIterator[LocalServer]:
    """A Sentinel that watches *master* as ``orders``, in a hurry."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)  # The server may run as another user, and writes its file anew.
        config = Path(directory, "sentinel.conf")
        config.write_text(
            f"sentinel monitor orders {master.host} {master.port} 1\n"
            "sentinel down-after-milliseconds orders 300\n"
            "sentinel failover-timeout orders 3000\n"
        )
        config.chmod(0o666)
        arguments = (str(config), "--sentinel", "--bind", "{host}", "--port", "{port}", "--logfile", "")
        async with server(attrs.evolve(recipes.redis(), arguments=arguments)) as running:
            yield running


@asynccontextmanager
async def master_and_replica(kept) -> AsyncIterator[tuple[LocalServer, LocalServer]]:
    at_once = ("--repl-diskless-sync-delay", "0")
    async with (
        redis_server(fsync="no", arguments=at_once) as master,
        redis_server(fsync="no", arguments=at_once) as replica,
        kept(replica.url) as gate,
    ):
        redis = RedisClient(gate)
        await redis.replicaof(master.host, master.port)
        with trio.fail_after(20):
            while (await redis.role())[3] != b"connected":
                await trio.sleep(0.05)
        yield master, replica


@pytest.mark.real
async def test_when_the_master_is_killed_writes_go_to_the_new_one(kept) -> None:
    async with master_and_replica(kept) as (master, replica), sentinel_of(master) as sentinel:
        async with kept(sentinel.url) as gate:
            with trio.fail_after(20):
                while not await RedisClient(gate).execute_command("SENTINEL", "REPLICAS", "orders"):
                    await trio.sleep(0.05)
        url = f"redis+sentinel://127.0.0.1:1,{sentinel.host}:{sentinel.port}/orders"
        async with kept(url) as gate:
            redis, acknowledged, unknown = RedisClient(gate, timeout=1.0), 0, 0
            assert (await redis.info("server"))["tcp_port"] == master.port
            with trio.fail_after(30):
                while (await redis.using(on_down=WAIT, timeout=30).info("server"))["tcp_port"] == master.port:
                    for _ in range(50):
                        try:
                            await redis.incr("n")
                            acknowledged += 1
                        except OutcomeUnknown:
                            unknown += 1
                        except ServiceError:
                            await trio.sleep(0.02)
                    if acknowledged < 100:
                        pipe = redis.pipeline()
                        pipe.incr("n")
                        pipe.wait(1, 5000)  # What the replica has confirmed must be there afterwards.
                        assert (await pipe.execute())[1] == 1
                        acknowledged += 1
                        master.kill()
            assert (await redis.role())[0] == b"master"
            assert acknowledged <= int(await redis.get("n")) <= acknowledged + unknown
            await redis.incr("n")
            assert (await redis.info("server"))["tcp_port"] == replica.port


@pytest.mark.real
async def test_a_replica_is_never_taken_for_the_master(kept) -> None:
    async with master_and_replica(kept) as (master, replica), sentinel_of(master) as stale:
        url = f"redis+sentinel://{stale.host}:{stale.port}/orders"
        async with kept(master.url) as admin_gate:
            admin = RedisClient(admin_gate)
            async with kept(url) as gate:
                link = gate.live
                await admin.replicaof(replica.host, replica.port)  # Behind the back of Sentinel.
                with pytest.raises(ConnectionError, match="no master any more"):
                    await link.probe()
                assert not link.live
            async with trio.open_nursery() as nursery:
                with pytest.raises(NoMaster, match="no master any more"):
                    await RedisConnect(url)(nursery)


@pytest.mark.real
async def test_what_sentinels_say_is_told(redis_at, kept) -> None:
    async with sentinel_of(redis_at) as sentinel, trio.open_nursery() as nursery:
        with pytest.raises(NoMaster, match="no master named 'other'"):
            await RedisConnect(f"redis+sentinel://{sentinel.host}:{sentinel.port}/other")(nursery)
        with pytest.raises(NoMaster, match="Connection refused"):
            await RedisConnect("redis+sentinel://127.0.0.1:1/orders")(nursery)
        url = f"redis+sentinel://{sentinel.host}:{sentinel.port}/orders?sentinel_username=eve&sentinel_password=x"
        with pytest.raises(NoMaster, match="AuthenticationError"):
            await RedisConnect(url)(nursery)
        link = await RedisConnect(f"redis+sentinel://{sentinel.host}:{sentinel.port}/orders")(nursery)
        assert isinstance(link, RedisLink)
        nursery.cancel_scope.cancel()


async def test_a_sentinel_that_says_nothing_is_passed_over(autojump_clock) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        with pytest.raises(NoMaster, match="no answer within 1 s"):
            await RedisConnect(f"redis+sentinel://127.0.0.1:{port}/orders")(nursery)
        assert trio.current_time() - began == pytest.approx(1.0)
    await listeners[0].aclose()
