"""TLS: who is let in, who is trusted, and certificates and passwords that change while we run."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trustme

from resprout.actors.connection.on_down import WAIT
from resprout.actors.redis.client import RedisClient
from resprout.actors.redis.connect import RedisConnect
from resprout.testing.servers import LocalServer, redis_server

pytestmark = pytest.mark.real


@asynccontextmanager
async def behind_tls(server: LocalServer, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS as *context* says and forwards to *server*."""

    async def forward(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async def copy(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
            async for data in source:
                await sink.send_all(data)
            nursery.cancel_scope.cancel()

        try:
            await stream.do_handshake()
            behind = await trio.open_tcp_stream(server.host, server.port)
            async with stream, behind, trio.open_nursery() as nursery:
                nursery.start_soon(copy, stream, behind)
                nursery.start_soon(copy, behind, stream)
        except* (trio.BrokenResourceError, ssl.SSLError, OSError):
            await trio.aclose_forcefully(stream)  # A client that does not trust us hangs up.

    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    async with trio.open_nursery() as serving:
        serving.start_soon(trio.serve_listeners, forward, listeners)
        yield listeners[0].transport_listener.socket.getsockname()[1]
        serving.cancel_scope.cancel()


def serving_as(certificate: trustme.LeafCert, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def trusting(authority: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


async def test_a_link_knows_when_the_certificate_expires(redis_at: LocalServer) -> None:
    authority = trustme.CA()
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    certificate = authority.issue_cert("localhost", not_after=ends)
    async with behind_tls(redis_at, serving_as(certificate)) as port, trio.open_nursery() as nursery:
        connect = RedisConnect(f"rediss://localhost:{port}", ssl_context=trusting(authority))
        assert (await connect(nursery)).tls_expiry() == ends.timestamp()
        plain = await RedisConnect(redis_at.url)(nursery)
        assert plain.tls_expiry() is None
        nursery.cancel_scope.cancel()


async def fails(url: str, context: ssl.SSLContext | Callable[[], ssl.SSLContext], said: str) -> None:
    """One attempt ends in an error of TLS whose chain says *said*."""
    async with trio.open_nursery() as nursery:
        with pytest.raises((ssl.SSLError, trio.BrokenResourceError, OSError)) as caught:
            await RedisConnect(url, ssl_context=context)(nursery)
        nursery.cancel_scope.cancel()
    assert said in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_only_the_right_certificate_is_trusted(redis_at: LocalServer) -> None:
    authority, yesterday = trustme.CA(), datetime.now(UTC) - timedelta(days=1)
    long_ago = yesterday - timedelta(days=1)
    expired = authority.issue_cert("localhost", not_before=long_ago, not_after=yesterday)
    async with behind_tls(redis_at, serving_as(expired)) as port:
        await fails(f"rediss://localhost:{port}", trusting(authority), "expired")
    async with behind_tls(redis_at, serving_as(authority.issue_cert("other.example"))) as port:
        await fails(f"rediss://localhost:{port}", trusting(authority), "Hostname mismatch")
    async with behind_tls(redis_at, serving_as(authority.issue_cert("localhost"))) as port:
        await fails(f"rediss://localhost:{port}", trusting(trustme.CA()), "CERTIFICATE_VERIFY_FAILED")
        await fails(f"rediss://localhost:{redis_at.port}", trusting(authority), "")


async def test_a_client_certificate_is_shown_and_read_anew_on_each_attempt(
    redis_at: LocalServer,
) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    contexts = [trusting(authority)]
    async with (
        behind_tls(redis_at, serving_as(authority.issue_cert("localhost"), clients)) as port,
        trio.open_nursery() as nursery,
    ):
        connect = RedisConnect(f"rediss://localhost:{port}", ssl_context=lambda: contexts[-1])
        with pytest.raises(Exception, match=r"(?i)certificate|broken|reset|closed|no reply"):
            await connect(nursery)
        contexts.append(trusting(authority, clients.issue_cert("client.example")))
        link = await connect(nursery)
        await link.probe()
        nursery.cancel_scope.cancel()


async def test_a_user_whose_password_changes_while_we_run_is_asked_for_on_each_attempt(kept) -> None:
    async with redis_server(fsync="no") as server, kept(server.url) as admin_gate:
        admin, passwords = RedisClient(admin_gate), ["first"]

        async def set_password() -> None:
            new = [f"+{passwords[-1]}"]
            await admin.acl_setuser(
                "ann", enabled=True, reset_passwords=True, passwords=new, keys="*", categories=["+@all"]
            )

        def url() -> str:
            return f"redis://ann:{passwords[-1]}@{server.host}:{server.port}"

        await set_password()
        async with kept(url) as gate:
            redis = RedisClient(gate, on_down=WAIT, timeout=10)
            assert await redis.set("k", "v") is True
            passwords.append("second")
            await set_password()
            assert await redis.get("k") == b"v", "who is logged in stays"
            assert await redis.blpop(["queue"], timeout=0.01) is None, "a new connection has the new password"
            await admin.client_kill_filter(_type="normal", skipme=True)
            assert await redis.get("k") == b"v"
            assert await redis.acl_whoami() == "ann"
