"""Sockets to remotes: their options, all addresses of a name, TLS, and errors that say where."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock

from resprout.actors.connection.dial import dial, dial_tls
from resprout.actors.connection.failure_kind import FailureKind, kind_of


@asynccontextmanager
async def served(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def greet(stream: trio.SocketStream) -> None:
        if context is None:
            await stream.send_all(b"hello")
            return
        secure = trio.SSLStream(stream, context, server_side=True)
        with suppress(trio.BrokenResourceError):  # Of a client that does not trust us.
            await secure.send_all(b"hello")

    async with served(greet) as port:
        yield port


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Names(trio.abc.HostnameResolver):
    """Knows one name, with the addresses it has at the moment."""

    def __init__(self) -> None:
        self.addresses: list[tuple[str, int]] = []
        self.asked = 0

    async def getaddrinfo(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@contextmanager
def known(names: Names) -> Iterator[None]:
    before = trio.socket.set_custom_hostname_resolver(names)
    try:
        yield
    finally:
        trio.socket.set_custom_hostname_resolver(before)


async def test_a_socket_notices_a_dead_peer_and_sends_at_once() -> None:
    async with listening() as port:
        stream = await dial("127.0.0.1", port)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        found = [stream.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
        assert found == [30, 5, 3, 20_000]
        await stream.aclose()


async def test_all_addresses_are_tried_and_the_name_is_looked_up_each_time() -> None:
    names = Names()
    async with listening() as port:
        with known(names):
            names.addresses = [("127.0.0.1", unused_port()), ("127.0.0.1", port)]
            async with await dial("moved.example", port) as stream:
                assert await stream.receive_some() == b"hello"
            names.addresses = [("127.0.0.1", unused_port())]
            with pytest.raises(ConnectionRefusedError):
                await dial("moved.example", port)
    assert names.asked == 2


async def test_an_error_says_where_nobody_answered_and_is_of_its_own_class() -> None:
    port = unused_port()
    with pytest.raises(ConnectionRefusedError, match=f"Connection refused: 127.0.0.1:{port}"):
        await dial("127.0.0.1", port)


async def test_tls_is_verified_by_default_and_a_wrong_certificate_is_of_kind_tls() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("good.example").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with listening(server) as port:
        async with await dial_tls("127.0.0.1", port, client, server_hostname="good.example") as stream:
            assert await stream.receive_some() == b"hello"
        for context, name in ((None, "good.example"), (client, "other.example")):
            with pytest.raises(ssl.SSLCertVerificationError) as refused:
                await dial_tls("127.0.0.1", port, context, server_hostname=name)
            assert kind_of(refused.value) is FailureKind.TLS


async def test_a_peer_that_hangs_up_in_the_handshake_is_a_failure_of_the_network() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    async with served(hang_up) as port:
        with pytest.raises((OSError, EOFError)) as failed:
            await dial_tls("127.0.0.1", port)
    assert kind_of(failed.value) is FailureKind.NETWORK


async def test_a_peer_that_says_nothing_in_the_handshake_is_left_after_five_seconds(
    autojump_clock: MockClock,
) -> None:
    async def say_nothing(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    autojump_clock.autojump_threshold = 0.2  # Real sockets need a moment.
    async with served(say_nothing) as port:
        with pytest.raises(TimeoutError, match=r"no TLS with 127\.0\.0\.1 within 5 s"):
            await dial_tls("127.0.0.1", port)
