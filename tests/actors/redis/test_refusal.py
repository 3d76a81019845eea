"""Servers that are no use: a node of a cluster, and what callers are told."""

import pytest
import trio

from resprout.actors.connection.on_down import WAIT
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.connect import RedisConnect
from resprout.actors.redis.refusal import ClusterRefused
from resprout.actors.redis.resp import parse_error
from resprout.runtime.errors import Sent, Unavailable
from resprout.testing.servers import redis_server


@pytest.mark.real
async def test_a_server_in_cluster_mode_is_refused_with_advice(kept) -> None:
    arguments = ("--cluster-enabled", "yes")
    async with redis_server(fsync="no", arguments=arguments) as node, trio.open_nursery() as nursery:
        with pytest.raises(ClusterRefused, match="cluster-enabled no"):
            await RedisConnect(node.url)(nursery)
        async with kept(node.url, ready=False) as gate:
            with pytest.raises(Unavailable) as caught:
                await RedisClient(gate, on_down=WAIT, timeout=0.5).get("k")
            assert isinstance(caught.value.cause, ClusterRefused)


@pytest.mark.parametrize("said", ["MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381", "MOVED 1 :1"])
async def test_a_redirection_to_another_node_is_refused_too(kept, said: str) -> None:
    async def node(stream: trio.SocketStream) -> None:
        async for data in stream:
            if b"HELLO" in data:
                await stream.send_all(b"%0\r\n")
            elif b"PING" in data:
                await stream.send_all(b"$16\r\n%s\r\n" % data.split(b"\r\n")[4])
            else:
                await stream.send_all(f"-{said}\r\n".encode())

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, node, 0)
        port = listeners[0].socket.getsockname()[1]
        async with kept(f"redis://127.0.0.1:{port}") as gate:
            with pytest.raises(Unavailable, match="proxy for clusters") as caught:
                await RedisClient(gate).set("k", "v")
            assert isinstance(caught.value.cause, ClusterRefused)
            assert caught.value.sent is Sent.NO
        nursery.cancel_scope.cancel()


def test_other_errors_are_what_redis_py_makes_of_them() -> None:
    assert not isinstance(parse_error("ERR MOVED is no command"), ClusterRefused)
