"""Reaching a real Redis: logins, TLS, the wrong server, and what heals when it is put right."""

import socket
import ssl
import tempfile
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from redis.exceptions import AuthenticationError, ReadOnlyError, ResponseError

from resprout.actors.redis import WAIT, LinkLimits, RedisClient
from resprout.actors.redis.connect import RedisConnect
from resprout.runtime.errors import DegradedReadOnly, Sent, Unavailable
from resprout.testing.servers import LocalServer, redis_server

pytestmark = pytest.mark.real


async def refused_with(redis: RedisClient, kind: type[Exception]) -> Unavailable:
    """Ask until the connection has failed once; the error callers get then."""
    with trio.fail_after(5):
        while True:
            await trio.sleep(0.02)
            with pytest.raises(Unavailable) as caught:
                await redis.get("k")
            if isinstance(caught.value.cause, kind):
                return caught.value


async def test_a_wrong_password_is_told_to_callers_and_heals_when_it_is_put_right(kept) -> None:
    async with redis_server(fsync="no") as server:
        async with kept(server.url) as gate:
            await RedisClient(gate).config_set("requirepass", "right")
        passwords = ["wrong"]

        async def provider() -> str:
            return server.url.replace("redis://", f"redis://:{passwords[-1]}@")

        async with kept(provider, ready=False) as gate:
            error = await refused_with(RedisClient(gate), AuthenticationError)
            assert error.sent is Sent.NO
            passwords.append("right")
            assert await RedisClient(gate, on_down=WAIT).ping() is True


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("redis://127.0.0.1:1", ConnectionRefusedError, "Connection refused: 127.0.0.1:1"),
        ("redis://no-such-host.invalid", socket.gaierror, ": no-such-host.invalid"),
    ],
)
async def test_who_cannot_be_reached_is_told_with_the_reason(
    url: str, kind: type[Exception], said: str
) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(kind, match=said):
            await RedisConnect(url)(nursery)


async def test_a_missing_password_is_an_authentication_error(kept) -> None:
    async with redis_server(fsync="no") as server:
        async with kept(server.url) as gate:
            await RedisClient(gate).config_set("requirepass", "right")
        async with kept(server.url, ready=False) as gate:
            await refused_with(RedisClient(gate), AuthenticationError)


async def test_user_database_and_name_of_the_url_are_used(redis_at: LocalServer, kept) -> None:
    async with kept(redis_at.url) as gate:
        await RedisClient(gate).acl_setuser(
            "bob", enabled=True, passwords=["+p@ss"], keys="*", categories=["+@all"]
        )
    url = f"redis://bob:p%40ss@{redis_at.host}:{redis_at.port}/3"
    async with kept(url) as gate:
        redis = RedisClient(gate)
        assert await redis.acl_whoami() == "bob"
        assert (await redis.client_info())["db"] == 3
        assert (await redis.client_info())["name"] == "resprout"
    async with kept(url.replace("/3", "/99"), ready=False) as gate:
        error = await refused_with(RedisClient(gate), ResponseError)
        assert "out of range" in str(error.cause)


async def test_a_unix_socket_serves_too(kept) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)  # The server may run as another user.
        path = f"{directory}/redis.sock"
        arguments = ("--unixsocket", path, "--unixsocketperm", "777")
        async with redis_server(fsync="no", arguments=arguments), kept(f"unix://{path}?db=1") as gate:
            assert await RedisClient(gate).ping() is True


async def test_a_read_only_server_expires_the_connection_until_it_is_a_master_again(
    redis_at: LocalServer, kept
) -> None:
    limits = LinkLimits(renew_after=0.0)
    async with kept(redis_at.url, limits=limits) as gate, kept(redis_at.url) as admin_gate:
        redis, admin, link = RedisClient(gate), RedisClient(admin_gate), gate.live
        await admin.replicaof("127.0.0.1", 1)
        with pytest.raises(Unavailable) as caught:
            await redis.set("k", "v")
        assert isinstance(caught.value.cause, ReadOnlyError)
        assert caught.value.sent is Sent.NO
        assert gate.live is not link
        await admin.replicaof("NO", "ONE")
        assert await redis.using(on_down=WAIT).set("k", "v") is True


async def test_a_young_link_to_a_read_only_server_stays_for_those_who_read(
    redis_at: LocalServer, kept
) -> None:
    async with kept(redis_at.url) as gate:
        redis, link = RedisClient(gate), gate.live
        await redis.set("k", "v")
        await redis.replicaof("127.0.0.1", 1)
        for send in (redis.set("k", "w"), redis.pipeline().set("k", "w").execute()):
            with pytest.raises(DegradedReadOnly) as caught:
                await send
            assert isinstance(caught.value.cause, ReadOnlyError)
            assert caught.value.state == "degraded"
        assert await redis.get("k") == b"v"
        assert gate.live is link
        async with trio.open_nursery() as nursery:
            nursery.start_soon(redis.using(on_down=WAIT).set, "k", "new")
            await trio.sleep(0.1)
            await redis.replicaof("NO", "ONE")
        assert await redis.get("k") == b"new"


async def test_connections_killed_by_the_server_are_made_again(redis_at: LocalServer, kept) -> None:
    async with kept(redis_at.url) as gate, kept(redis_at.url) as admin_gate:
        redis, admin = RedisClient(gate, on_down=WAIT), RedisClient(admin_gate)
        for _ in range(3):
            await admin.client_kill_filter(_type="normal", skipme=True)
            assert await redis.incr("n") > 0


async def test_a_server_that_is_full_is_asked_again(kept) -> None:
    async with redis_server(fsync="no") as server, kept(server.url) as first:
        await RedisClient(first).config_set("maxclients", 1)
        async with kept(server.url, ready=False) as second:
            with trio.fail_after(5):
                while "max number of clients" not in str(second.last_error):
                    await trio.sleep(0.02)
            await RedisClient(first).config_set("maxclients", 100)
            assert await RedisClient(second, on_down=WAIT).ping() is True


async def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time(kept, autojump_clock) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    connect = RedisConnect(f"redis://127.0.0.1:{port}")
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        with pytest.raises(Exception, match="no reply"):
            await connect(nursery)
        assert trio.current_time() - began == pytest.approx(5.0)
    await listeners[0].aclose()


@asynccontextmanager
async def behind_tls(server: LocalServer, certificate: trustme.LeafCert) -> AsyncIterator[int]:
    """A port that speaks TLS and forwards to *server*."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)

    async def forward(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async def copy(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
            async for data in source:
                await sink.send_all(data)
            nursery.cancel_scope.cancel()

        async with stream, await trio.open_tcp_stream(server.host, server.port) as behind:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(copy, stream, behind)
                    nursery.start_soon(copy, behind, stream)
            except* (trio.BrokenResourceError, ssl.SSLError):
                pass  # A client that does not trust us hangs up; so does one that is done.

    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, forward, listeners)
        yield listeners[0].transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_tls_is_verified(redis_at: LocalServer, kept, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    async with behind_tls(redis_at, authority.issue_cert("localhost")) as port:
        async with kept(f"rediss://localhost:{port}?ca_file={ca_file}") as gate:
            redis = RedisClient(gate)
            await redis.set("k", b"x" * 1_000_000)
            assert await redis.get("k") == b"x" * 1_000_000
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(redis.incr, "n")
            assert await redis.get("n") == b"100"
        async with kept(f"rediss://localhost:{port}", ready=False) as gate:
            await refused_with(RedisClient(gate), ssl.SSLError | trio.BrokenResourceError)
        async with kept(f"rediss://127.0.0.1:{port}?ca_file={ca_file}", ready=False) as gate:
            await refused_with(RedisClient(gate), ssl.SSLError | trio.BrokenResourceError)


async def test_a_server_without_resp3_is_told_apart(kept) -> None:
    async def old_redis(stream: trio.SocketStream) -> None:
        async for _ in stream:
            await stream.send_all(b"-ERR unknown command `HELLO`\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, old_redis, 0)
        port = listeners[0].socket.getsockname()[1]
        async with kept(f"redis://127.0.0.1:{port}", ready=False) as gate:
            error = await refused_with(RedisClient(gate), ResponseError)
            assert "Redis 6" in str(error.cause)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "said",
    ["unknown command `HELLO`, with args beginning with: `3` `AUTH` `ann` `hunter2`", "what is hunter2?"],
)
async def test_a_password_that_the_server_repeats_is_shown_to_nobody(kept, said: str) -> None:
    async def talkative(stream: trio.SocketStream) -> None:
        async for _ in stream:
            await stream.send_all(f"-ERR {said}\r\n".encode())

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, talkative, 0)
        port = listeners[0].socket.getsockname()[1]
        async with kept(f"redis://ann:hunter2@127.0.0.1:{port}", ready=False) as gate:
            error = await refused_with(RedisClient(gate), ResponseError)
            told = "".join(traceback.format_exception(error)) + repr(error.cause) + str(gate.describe())
        nursery.cancel_scope.cancel()
    assert "hunter2" not in told
