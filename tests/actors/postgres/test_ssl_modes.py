"""Every sslmode against every kind of server: what libpq's documentation promises for it."""

import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from resprout.actors.connection.failure_kind import FailureKind, kind_of
from resprout.actors.postgres.asyncpg_driver import AsyncpgDriver
from resprout.actors.postgres.tls import tls_for
from resprout.testing import LocalServer

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
NOT_IN_THE_CLEAR = b"SFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"

MODES = ("disable", "allow", "prefer", "require", "require+root", "verify-ca", "verify-full")


@attrs.define
class Front:
    """A server as clients see it.

    Attributes:
        context: How it speaks TLS; None if it does not.
        plain: Whether it lets clients in that do not ask for TLS.
        breaks: It offers TLS and cannot do it.
        seen: How each client that was let in came: ``tls`` or ``plain``.
    """

    context: ssl.SSLContext | None = None
    plain: bool = True
    breaks: bool = False
    seen: list[str] = attrs.field(factory=list)

    async def serve(self, server: LocalServer, client: trio.SocketStream) -> None:
        head = bytes(await client.receive_some(8))
        stream: trio.abc.Stream = client
        if head == SSL_REQUEST:
            await client.send_all(b"N" if self.context is None else b"S")
            if self.breaks:
                await client.receive_some(4096)
                await client.send_all(b"this is no TLS")
                return
            if self.context is not None:
                stream = trio.SSLStream(client, self.context, server_side=True, https_compatible=True)
            head = bytes(await stream.receive_some(8))
        if not head:
            return
        if stream is client and not self.plain:
            await client.send_all(b"E" + (len(NOT_IN_THE_CLEAR) + 4).to_bytes(4, "big") + NOT_IN_THE_CLEAR)
            return
        self.seen.append("plain" if stream is client else "tls")
        async with (
            await trio.open_tcp_stream(server.host, server.port) as behind,
            trio.open_nursery() as both,
        ):
            await behind.send_all(head)
            both.start_soon(pump, stream, behind, both.cancel_scope)
            both.start_soon(pump, behind, stream, both.cancel_scope)


async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


@asynccontextmanager
async def standing(front: Front, server: LocalServer) -> AsyncIterator[int]:
    async def serve(client: trio.SocketStream) -> None:
        try:
            async with client:
                await front.serve(server, client)
        except* trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def outcome(front: Front, port: int, options: str) -> str:
    """``plain`` or ``tls`` if there is a connection that answers, else the class of the error."""
    front.seen.clear()
    dsn = f"postgresql://postgres@localhost:{port}/postgres?{options}"
    async with trio.open_nursery() as nursery:
        try:
            with trio.fail_after(10):
                connection = await AsyncpgDriver().connect(dsn, nursery, lambda: None, name="test")
                assert await connection.fetchval("SELECT 1") == 1
                connection.terminate()
        except Exception as error:  # noqa: BLE001 - it is what is asked for.
            return "verify" if isinstance(error, ssl.SSLCertVerificationError) else "refused"
        return front.seen[-1]


@attrs.frozen
class Papers:
    """Certificates and where they lie."""

    directory: Path
    authority: trustme.CA = attrs.field(factory=trustme.CA)

    @property
    def root(self) -> Path:
        path = self.directory / "root.crt"
        self.authority.cert_pem.write_to_path(str(path))
        return path

    def context(self, *names: str, by: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        (by or self.authority).issue_cert(*names).configure_cert(context)
        return context

    def client(self) -> str:
        """The options for a client certificate."""
        leaf = self.authority.issue_cert("app@db.example")
        certificate, key = self.directory / "app.crt", self.directory / "app.key"
        leaf.cert_chain_pems[0].write_to_path(str(certificate))
        leaf.private_key_pem.write_to_path(str(key))
        return f"sslcert={certificate}&sslkey={key}"

    def revocations(self, *revoked: trustme.LeafCert) -> Path:
        certificate = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes())
        key = serialization.load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        listed = x509.CertificateRevocationListBuilder(certificate.subject, now - day, now + day)
        for leaf in revoked:
            serial = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number
            builder = x509.RevokedCertificateBuilder(serial_number=serial, revocation_date=now - day)
            listed = listed.add_revoked_certificate(builder.build())
        path = self.directory / f"revoked-{len(revoked)}.crl"
        path.write_bytes(listed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Papers:
    """Nothing in the home directory or the environment has a say."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGHOST"):
        monkeypatch.delenv(name, raising=False)
    return Papers(tmp_path)


#                            disable    allow    prefer   require    +root    verify-ca  verify-full
PROMISED = {
    "no TLS":               ("plain",   "plain", "plain", "refused", "refused", "refused", "refused"),
    "both":                 ("plain",   "plain", "tls",   "tls",     "tls",     "tls",     "tls"),
    "TLS only":             ("refused", "tls",   "tls",   "tls",     "tls",     "tls",     "tls"),
    "unknown authority":    ("refused", "tls",   "tls",   "tls",     "verify",  "verify",  "verify"),
    "another name":         ("refused", "tls",   "tls",   "tls",     "tls",     "tls",     "verify"),
    "TLS that breaks":      ("plain",   "plain", "plain", "refused", "refused", "refused", "refused"),
}  # fmt: skip


@pytest.mark.real
async def test_each_sslmode_does_with_each_server_what_libpq_promises(
    papers: Papers, postgres_server: LocalServer
) -> None:
    fronts: dict[str, Callable[[], Front]] = {
        "no TLS": Front,
        "both": lambda: Front(papers.context("localhost")),
        "TLS only": lambda: Front(papers.context("localhost"), plain=False),
        "unknown authority": lambda: Front(papers.context("localhost", by=trustme.CA()), plain=False),
        "another name": lambda: Front(papers.context("elsewhere.example"), plain=False),
        "TLS that breaks": lambda: Front(papers.context("localhost"), breaks=True),
    }
    root = f"&sslrootcert={papers.root}"
    found: dict[str, tuple[str, ...]] = {}
    for name, make in fronts.items():
        front = make()
        async with standing(front, postgres_server) as port:
            found[name] = tuple(
                [
                    await outcome(
                        front,
                        port,
                        f"sslmode={mode.removesuffix('+root')}{'' if mode == 'require' else root}",
                    )
                    for mode in MODES
                ]
            )
    assert found == PROMISED


@pytest.mark.real
async def test_a_client_certificate_opens_a_server_that_asks_for_one(
    papers: Papers, postgres_server: LocalServer
) -> None:
    context = papers.context("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    papers.authority.configure_trust(context)
    front = Front(context, plain=False)
    verified = f"sslmode=verify-full&sslrootcert={papers.root}"
    async with standing(front, postgres_server) as port:
        assert await outcome(front, port, verified) == "refused"
        assert await outcome(front, port, f"{verified}&{papers.client()}") == "tls"


@pytest.mark.real
async def test_a_revoked_certificate_is_refused(papers: Papers, postgres_server: LocalServer) -> None:
    leaf = papers.authority.issue_cert("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    front = Front(context)
    verified = f"sslmode=verify-full&sslrootcert={papers.root}"
    async with standing(front, postgres_server) as port:
        assert await outcome(front, port, f"{verified}&sslcrl={papers.revocations()}") == "tls"
        assert await outcome(front, port, f"{verified}&sslcrl={papers.revocations(leaf)}") == "verify"


@pytest.mark.real
async def test_the_authorities_of_the_system_verify_with_the_client_certificate_of_the_dsn(
    papers: Papers, postgres_server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = papers.context("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    papers.authority.configure_trust(context)
    front = Front(context)
    async with standing(front, postgres_server) as port:
        assert await outcome(front, port, f"sslrootcert=system&{papers.client()}") == "verify"
        monkeypatch.setenv("SSL_CERT_FILE", str(papers.root))
        assert await outcome(front, port, f"sslrootcert=system&{papers.client()}") == "tls"


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
def test_a_file_that_is_not_there_is_named_and_loud(papers: Papers, name: str) -> None:
    missing = papers.directory / "missing.pem"
    with pytest.raises(ssl.SSLError, match=f"{name}={missing} cannot be read: No such file") as caught:
        tls_for(f"postgresql://u@localhost/x?sslmode=require&{name}={missing}")
    assert kind_of(caught.value) is FailureKind.TLS


def test_a_mode_that_verifies_without_an_authority_says_what_to_add(papers: Papers) -> None:
    with pytest.raises(ssl.SSLError, match="sslmode=verify-full needs an authority: add sslrootcert="):
        tls_for("postgresql://u@db.example/x?sslmode=verify-full")
