"""Who gets in, who does not, and that nobody can harm the others."""

import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, open_websocket_url

from resprout.actors.websocket.acceptor import Identity, ServerPolicy
from resprout.actors.websocket.admission import Admission, objection
from resprout.actors.websocket.events import ConnectionBroken
from resprout.actors.websocket.rate import RateLimit
from resprout.actors.websocket.session import SessionPolicy
from resprout.runtime.errors import Unavailable

RULES = Admission(hosts={"chat.example", "127.0.0.1:8765"}, origins={"https://chat.example"})

STRANGE_ORIGINS = [
    "null",
    "",
    "https://chat.example.",
    "https://chat.example:444",
    "https://chat.example/",
    "https://chat.example.evil.example",
    "https://evil.example/https://chat.example",
    "https://evilchat.example",
    "https://sub.chat.example",
    "http://chat.example",
    "wss://chat.example",
    "file://chat.example",
    "chat.example",
    "*",
    "https://*",
    "https://chat.example https://evil.example",
    "https://chat.example,https://evil.example",
    "https://chat.example\x00",
    "https://chat.example%00.evil.example",
    "https://chat.example@evil.example",
    "https://ch\u0430t.example",
    "https://xn--cht-5cd.example",
    "https://[::1]",
    "https://localhost",
    "https://127.0.0.1:8765",
]


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
def test_only_the_exact_origin_is_let_in(origin: str) -> None:
    header = [(b"origin", origin.encode())]
    assert objection(RULES, "chat.example", header) == "origin not allowed"
    assert objection(RULES, "chat.example", [(b"Origin", b"HTTPS://Chat.example")]) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "", "chat.example:80", "chat.example.", "a.chat.example", "127.0.0.1"]
)
def test_only_the_exact_host_is_let_in(host: str) -> None:
    assert objection(RULES, host, [(b"origin", b"https://chat.example")]) == "host not allowed"


def test_two_origins_and_a_missing_one_that_is_required_are_refused() -> None:
    good = (b"origin", b"https://chat.example")
    assert objection(RULES, "chat.example", [good, good]) == "origin not allowed"
    strict = Admission(hosts={"chat.example"}, origins={"https://chat.example"}, without_origin=False)
    assert objection(strict, "chat.example", []) == "origin missing"


pytestmark = pytest.mark.real

HELLO = '{"type":"hello","v":1,"token":"ann"}'


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket that says only what the test says."""
    with contextlib.suppress(ConnectionClosed):
        async with open_websocket_url(url) as socket:
            yield socket


async def closed_with(socket: WebSocketConnection) -> int:
    """Read until the server closes; its close code."""
    with trio.fail_after(5):
        while True:
            try:
                await socket.get_message()
            except ConnectionClosed as error:
                return 0 if error.reason is None else error.reason.code


async def serves(server) -> None:
    """The server still does its work."""
    await server.hub.enqueue("witness", "hello")
    async with server.client("witness") as client:
        with trio.fail_after(5):
            item = await client.__anext__()
        assert item.data == "hello"
        client.acknowledge()


async def test_a_foreign_origin_gets_403(site) -> None:
    async with site(origins={"https://chat.example"}) as server:
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_url(server.url, extra_headers=[(b"Origin", b"https://evil.example")]):
                pass
        assert caught.value.status_code == 403
        async with server.client(origin="https://chat.example") as client:
            await server.hub.enqueue("ann", 1)
            with trio.fail_after(5):
                await client.__anext__()


@pytest.mark.parametrize(
    ("says", "code"),
    [
        ("no json", 4400),
        ('{"type":"ack","seq":1}', 4400),
        ('{"type":"hello","v":2,"token":"ann"}', 4400),
        ('{"type":"hello","v":1}', 4400),
        ('{"type":"hello","v":1,"token":"bad"}', 4401),
        ('{"type":"hello","v":1,"token":"' + "x" * 9000 + '"}', 4400),
        (b"\xff\xfe\x00", 4400),
        ("[" * 10_000, 4400),
        (HELLO + "\n{}", 4400),
        ("x" * 20_000, 1009),
    ],
)
async def test_a_bad_hello_is_refused_with_a_reason(site, says: str | bytes, code: int) -> None:
    async with site() as server:
        async with raw(server.url) as socket:
            await socket.send_message(says)
            assert await closed_with(socket) == code
        await serves(server)


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (HELLO, 4400),
        ('{"type":"ack","seq":99}', 4400),
        ('{"type":"ack","seq":-1}', 4400),
        ('{"type":"ack","seq":1.5}', 4400),
        ('{"type":"ack","seq":9007199254740993}', 4400),
        ('{"type":"welcome"}', 4400),
        ('{"type":"ping","n":"' + "x" * 65 + '"}', 4400),
        ("x" * 20_000, 1009),
    ],
)
async def test_a_bad_frame_ends_its_session_and_no_other(site, says: str, code: int) -> None:
    async with site() as server:
        async with raw(server.url) as socket:
            await socket.send_message(HELLO)
            await socket.get_message()
            await socket.send_message(says)
            assert await closed_with(socket) == code
        await serves(server)


async def test_who_says_nothing_is_shown_the_door(site) -> None:
    policy = ServerPolicy(handshake_deadline=0.1, hello_deadline=0.1)
    async with site(policy=policy) as server:
        async with raw(server.url) as socket:
            assert await closed_with(socket) == 4531
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost:")
        with trio.fail_after(2):
            assert await stream.receive_some() == b""
        await serves(server)


HALF_SAID = [
    b"",
    b"GET / HT",
    b"POST / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"GET / HTTP/1.1\r\nHost: \xff\r\nUpgrade: websocket\r\n\r\n",
]


async def test_who_leaves_during_the_handshake_leaves_nothing_behind(site) -> None:
    async with site() as server:
        for said in HALF_SAID:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(said)
            await trio.aclose_forcefully(stream)
        with trio.fail_after(2):
            while server.acceptor.guests.total:
                await trio.sleep(0.01)
        await serves(server)


async def test_sessions_are_limited_per_user(site) -> None:
    async with site(max_per_user=1) as server, raw(server.url) as first, raw(server.url) as second:
        await first.send_message(HELLO)
        await first.get_message()
        await second.send_message('{"type":"hello","v":1,"token":"ann/phone"}')
        assert await closed_with(second) == 4529
        await serves(server)


async def test_connections_are_limited_per_address_and_counted_off_again(site) -> None:
    async with site(max_per_address=2) as server:
        async with raw(server.url), raw(server.url):
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            with trio.fail_after(2):
                assert await stream.receive_some() == b""
        with trio.fail_after(2):
            while server.acceptor.guests.total:
                await trio.sleep(0.01)
        await serves(server)


async def test_who_talks_too_much_is_asked_to_come_back_later(site) -> None:
    session = SessionPolicy(rate=RateLimit(per_second=10, burst=20))
    async with site(policy=ServerPolicy(session=session)) as server:
        async with raw(server.url) as socket:
            await socket.send_message(HELLO)
            with contextlib.suppress(ConnectionClosed):
                for n in range(30):
                    await socket.send_message('{"type":"ping","n":"' + str(n) + '"}')
            assert await closed_with(socket) == 4530
        await serves(server)


async def test_a_verifier_that_is_away_asks_the_client_to_come_back(site) -> None:
    async with site() as server:

        async def away(token: str) -> Identity:
            raise Unavailable("auth", "is away", retry_after=0.5)

        server.acceptor.verify = away
        async with raw(server.url) as socket:
            await socket.send_message(HELLO)
            last = await socket.get_message()
            assert '"try_again_later"' in last
            assert '"retry_after":0.5' in last
            assert await closed_with(socket) == 1013


async def test_a_broken_verifier_is_reported_and_harms_one_connection(site) -> None:
    async with site() as server:

        async def broken(token: str) -> Identity:
            if token == "ann":
                raise ZeroDivisionError
            return Identity(token, token)

        server.acceptor.verify = broken
        async with raw(server.url) as socket:
            await socket.send_message(HELLO)
            assert await closed_with(socket) == 1011
        await serves(server)
        broken_ones = [event for event in server.events if isinstance(event, ConnectionBroken)]
        assert [type(event.error) for event in broken_ones] == [ZeroDivisionError]


async def test_noise_never_brings_the_server_down(site) -> None:
    rng = random.Random(7)
    async with site() as server:
        for _ in range(40):
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(
                    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                    % server.port
                )
                await stream.receive_some()
                await stream.send_all(rng.randbytes(rng.randrange(1, 300)))
            await trio.aclose_forcefully(stream)
        await serves(server)
