"""TLS through asyncio's layer on our transport, with a proxy that answers the server's part of it."""

import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from resprout.actors.postgres import PoolPolicy, PostgresClient
from resprout.actors.postgres.dsn import check_dsn
from resprout.actors.postgres.tls import tls_for
from resprout.runtime import Unavailable
from resprout.testing import LocalServer

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import Keep

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@asynccontextmanager
async def tls_in_front_of(server: LocalServer, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Speak TLS to clients and plain to *server*; yields the port."""

    async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
        try:
            while data := await source.receive_some(65536):
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()

    async def serve(client: trio.SocketStream) -> None:
        assert bytes(await client.receive_some(8)) == SSL_REQUEST
        await client.send_all(b"S")
        secure = trio.SSLStream(client, context, server_side=True, https_compatible=True)
        try:
            await secure.do_handshake()
        except trio.BrokenResourceError:
            return
        async with await trio.open_tcp_stream(server.host, server.port) as plain, trio.open_nursery() as both:
            both.start_soon(pump, secure, plain, both.cancel_scope)
            both.start_soon(pump, plain, secure, both.cancel_scope)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.real
async def test_statements_cancels_and_much_data_pass_through_verified_tls(
    kept: "Keep", postgres_server: LocalServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusted = tmp_path_factory.mktemp("tls") / "root.crt"
    authority.cert_pem.write_to_path(str(trusted))
    async with tls_in_front_of(postgres_server, context) as port:
        dsn = f"postgresql://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={trusted}"
        async with kept(dsn, PoolPolicy(max_size=2)) as it:
            db = PostgresClient(it.gate)
            assert await db.fetchval("SELECT 1") == 1
            text = "x" * 3_000_000
            assert await db.fetchval("SELECT $1::text", text, timeout=30) == text
            with trio.move_on_after(0.1):
                await db.fetchval("SELECT pg_sleep(60)", timeout=60)
            assert await db.fetchval("SELECT 2") == 2
            assert it.pool.census().open == 1


@pytest.mark.real
async def test_a_certificate_nobody_vouches_for_is_refused(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    elsewhere = trustme.CA()
    with elsewhere.cert_pem.tempfile() as trusted:
        async with tls_in_front_of(postgres_server, context) as port:
            dsn = f"postgresql://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={trusted}"
            async with kept(dsn, ready=False) as it:
                with trio.fail_after(10):
                    while it.gate.last_error is None:
                        await trio.sleep(0.01)
                with pytest.raises(Unavailable) as caught:
                    await PostgresClient(it.gate).fetchval("SELECT 1")
                assert isinstance(caught.value.cause, ssl.SSLCertVerificationError)


@pytest.mark.parametrize(
    ("dsn", "verified"),
    [
        ("postgresql://u@db.example/x", True),
        ("postgresql://u@db.example:5432,localhost/x", True),
        ("postgresql://u@db.example/x?sslmode=prefer", False),
        ("postgresql://u@localhost:5432/x", False),
        ("postgresql://u@[::1]:5432/x", False),
        ("postgresql:///x?host=/run/postgresql", False),
        ("postgresql:///x?host=db.example", True),
    ],
)
def test_tls_is_verified_unless_the_dsn_or_this_machine_say_otherwise(
    dsn: str, verified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGSSLMODE", "PGHOST", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)
    context = tls_for(dsn)
    if not verified:
        assert context is None
        return
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "redis://x", "localhost:5432", "postgresql://u:secret@h:port/x", "postgresql://u:secret@[h/x"),
        *("postgresql://u:secret/1@h/x", "postgresql://u:sec/secret@h/x", "postgresql://u:secret#1@h/x"),
        *("postgresql://u:secret?1@h/x", "postgresql://u:secret[@h/x", "postgresql://u:secret\u2100@h/x"),
        *("postgresql://u:secret@h:70000/x", "postgresql://u:secret@h/x?sslmode=never"),
        *("postgresql://u:12/secret@h/x", "postgresql://u:12#secret@h/x"),
        "postgresql://u:secret@h/x?sslmode=require&sslrootcert=system",
    ],
)
def test_what_is_no_dsn_is_refused_and_its_password_not_shown(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected postgresql://") as caught:
        check_dsn(wrong)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "right",
    ["postgres://h/x", "postgresql://u:p@h:5432,i:5433/x", "postgresql:///x", "postgresql://u@[::1]:5/x"],
)
def test_what_is_a_dsn_is_taken(right: str) -> None:
    check_dsn(right)
