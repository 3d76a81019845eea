"""Signed tokens, keys from a real HTTP server, and everything that can be wrong with either."""

import base64
import gzip
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
import jwt
import pytest
import trio
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resprout.actors.auth import AuthClient, Authenticator, AuthPolicy, InvalidToken
from resprout.actors.auth.signed import Claims, JwksConnection, KeyRing, KeysPolicy, SignedTokens
from resprout.actors.connection import (
    AttemptFailed,
    FailureKind,
    KeeperPolicy,
    LinkLost,
    ProbeMissed,
    Recovered,
)
from resprout.actors.metrics import scrape, tallies_of
from resprout.runtime import Backoff, BreakerPolicy, Event, Name, errors, open_runtime
from resprout.runtime.breaker import BreakerChanged
from resprout.runtime.lifecycle import ActorRestarting
from resprout.supervisors import child, supervisor
from tests.actors.auth.jwks_server import (
    AUDIENCE,
    ISSUER,
    JwksServer,
    http,
    jwks_server,
    key,
    key_set,
    public,
    token,
)

pytestmark = pytest.mark.real


class MortalConnection(JwksConnection):
    """Can be crashed by a message."""

    async def explode(self) -> None:
        raise RuntimeError("boom")


KEYS = Name(MortalConnection, "keys")
AUTH: Name[Authenticator[Claims]] = Name(Authenticator, "auth")
auth = AuthClient(AUTH)
signed = SignedTokens(keys=KEYS, audience=AUDIENCE, issuer=ISSUER, algorithms=("ES256", "RS256", "EdDSA"))

# Deadlines of a fraction of a second: these servers run on real time.
QUICK = KeeperPolicy(
    probe_every=30.0, probe_timeout=0.5, attempt_timeout=1.5, backoff=Backoff(base=0.1, cap=0.2)
)
FAST = AuthPolicy(timeout=1.0, probe_every=0.1, breaker=BreakerPolicy(open_for=0.3, open_cap=0.5))
KEEP = KeysPolicy(refetch_every=0.3, wait=1.0)


@asynccontextmanager
async def tree(
    url: str,
    keys: KeysPolicy = KEEP,
    policy: KeeperPolicy = QUICK,
    context: ssl.SSLContext | None = None,
    *,
    ready: bool = True,
) -> AsyncIterator[list[Event]]:
    """The keys of an issuer, fetched if they must be *ready*, and an authenticator; yields the events."""
    events: list[Event] = []
    connection = partial(MortalConnection, url, keys=keys, policy=policy, ssl_context=context)
    app = supervisor(
        "app",
        child("keys", connection, name=KEYS),
        child("auth", partial(Authenticator, signed, policy=FAST), name=AUTH),
    )
    async with open_runtime(app) as runtime:
        runtime.events.subscribe(events.append)
        if ready:
            await until(lambda: ring().trouble() == "")
        yield events


def ring() -> KeyRing:
    found = KEYS.offered(KeyRing)
    assert found is not None
    return found


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    with trio.fail_after(within):
        while not condition():
            await trio.sleep(0.01)


def transitions(events: Sequence[Event]) -> list[str]:
    return [event.new.name for event in events if isinstance(event, BreakerChanged)]


async def test_a_token_of_the_issuer_gives_its_claims() -> None:
    keys = public("k1"), public("r1", "RSA"), public("o1", "OKP")
    async with jwks_server(*keys) as server, tree(server.url):
        claims = await auth.verify(token(role="admin"))
        assert (claims.subject, claims.issuer, claims.all["role"]) == ("ann", ISSUER, "admin")
        assert claims.expires_at == pytest.approx(time.time() + 300, abs=5)
        assert "admin" not in repr(claims)
        assert (await auth.verify(token("r1", "RSA", "RS256"))).subject == "ann"
        assert (await auth.verify(token("o1", "OKP", "EdDSA", aud=[AUDIENCE, "other"]))).subject == "ann"
        assert server.requests == 1  # Verifying asks nobody.


def forged(header: dict[str, object], payload: object = None, secret: bytes = b"") -> str:
    """A token with any header, signed by HMAC with *secret*."""
    now = time.time()
    said = payload or {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": now + 300}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, said)]
    mac = hmac.digest(secret, b".".join(parts), hashlib.sha256) if secret else b""
    return b".".join((*parts, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()


def pem() -> bytes:
    """The public key as text, which a confused verifier takes for an HMAC secret."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key("k1").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


BAD: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "no jwt": lambda: "a.b.c",
    "surrogate": lambda: "\ud800.\ud800.\ud800",
    "alg none": lambda: forged({"alg": "none", "kid": "k1"}),
    "alg NONE": lambda: forged({"alg": "NoNe", "kid": "k1"}),
    "alg missing": lambda: forged({"kid": "k1"}),
    "alg a list": lambda: forged({"alg": ["ES256"], "kid": "k1"}),
    "HS256 with the public key": lambda: forged({"alg": "HS256", "kid": "k1"}, secret=pem()),
    "HS256 called ES256": lambda: forged({"alg": "ES256", "kid": "k1"}, secret=pem()),
    "RS256 with an EC key": lambda: forged({"alg": "RS256", "kid": "k1"}, secret=pem()),
    "allowed nowhere": lambda: jwt.encode({"sub": "ann"}, key("r1", "RSA"), "PS256", headers={"kid": "r1"}),
    "another key": lambda: jwt.encode({"sub": "ann"}, key("other"), "ES256", headers={"kid": "k1"}),
    "embedded key": lambda: forged({"alg": "ES256", "kid": "k1", "jwk": public("other"), "jku": "http://x"}),
    "crit": lambda: jwt.encode({}, key("k1"), "ES256", headers={"kid": "k1", "crit": ["exp"]}),
    "kid a number": lambda: forged({"alg": "ES256", "kid": 1}),
    "expired": lambda: token(exp=time.time() - 60),
    "never expires": lambda: token(exp=None),
    "exp infinite": lambda: token(exp=float("inf")),
    "exp a text": lambda: token(exp="tomorrow"),
    "not yet valid": lambda: token(nbf=time.time() + 60),
    "issued in the future": lambda: token(iat=time.time() + 600),
    "another issuer": lambda: token(iss="https://evil.example"),
    "no issuer": lambda: token(iss=None),
    "another audience": lambda: token(aud="other"),
    "no audience": lambda: token(aud=None),
    "audience a number": lambda: token(aud=5),
    "no subject": lambda: token(sub=None),
    "tampered": lambda: token()[:-6] + "AAAAAA",
    "deep header": lambda: base64.urlsafe_b64encode(b"[" * 9_000).decode() + ".e30.",
}


async def test_no_bad_token_passes_and_no_number_of_them_opens_the_breaker() -> None:
    async with jwks_server(public("k1"), public("r1", "RSA")) as server, tree(server.url) as events:
        assert (await auth.verify(token())).subject == "ann"
        for _ in range(3):
            for name, make in BAD.items():
                try:
                    await auth.verify(make())
                except InvalidToken:
                    continue
                pytest.fail(f"{name} passed")
        assert transitions(events) == []
        assert server.requests == 1  # None of them made us ask.


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["sub", "iss", "aud", "exp", "nbf", "iat", "jti"]),
        st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
    ),
    st.binary(max_size=40),
)
def test_whatever_a_token_says_it_gives_claims_or_is_invalid(said: dict[str, object], noise: bytes) -> None:
    from jwt import PyJWK

    texts = (
        [jwt.encode(said, key("k1"), "ES256"), noise.decode("latin1"), token(**said)]
        if _encodes(said)
        else []
    )
    for text in texts:
        try:
            signed._read_header(text)
            claims = signed._read_claims(text, PyJWK(public("k1"), "ES256"), "ES256")
        except InvalidToken:
            continue
        assert isinstance(claims.subject, str)


def _encodes(said: dict[str, object]) -> bool:
    try:
        jwt.encode(said, key("k1"), "ES256")
        token(**said)
    except (TypeError, ValueError, jwt.PyJWTError):
        return False  # PyJWT refuses to make it.
    return True


async def test_a_clock_that_is_a_little_off_does_no_harm() -> None:
    async with jwks_server() as server, tree(server.url):
        assert (await auth.verify(token(exp=time.time() - 5))).subject == "ann"
        assert (await auth.verify(token(nbf=time.time() + 5))).subject == "ann"


async def test_a_new_key_is_found_by_its_first_token_with_one_fetch_for_all() -> None:
    async with jwks_server() as server, tree(server.url):
        assert (await auth.verify(token())).subject == "ann"
        server.publish(public("k1"), public("k2"))
        await trio.sleep(0.35)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(auth.verify, token("k2", n=number))
        assert server.requests == 2


async def test_made_up_key_ids_cause_a_fetch_once_in_a_while_and_open_no_breaker() -> None:
    async with jwks_server() as server, tree(server.url) as events:
        assert (await auth.verify(token())).subject == "ann"
        began = trio.current_time()
        for number in range(300):
            with pytest.raises(InvalidToken):
                await auth.verify(token(f"made up {number % 3}", n=number))
        assert server.requests <= 2 + (trio.current_time() - began) / 0.3
        assert transitions(events) == []


async def test_an_outage_of_the_url_is_not_noticed_by_users_until_its_bound() -> None:
    keys = attrs.evolve(KEEP, keep_for=3.0)
    async with (
        jwks_server() as server,
        tree(server.url, keys, attrs.evolve(QUICK, probe_every=0.1)) as events,
    ):
        assert (await auth.verify(token())).subject == "ann"
        server.response = http(b"", "503 Service Unavailable")
        await until(lambda: ring().gate.live is None and ring().age > 0.3)
        for number in range(20):
            assert (await auth.verify(token(n=number))).subject == "ann"
            # A key that is not known may be a new one or a made-up one: nobody can tell now.
            with pytest.raises(errors.CircuitOpen) as refused:
                await auth.verify(token("unknown", n=number))
            assert refused.value.service == "jwks"
        assert transitions(events) == []
        assert ring().trouble() == ""
        await until(lambda: ring().trouble() != "")
        for number in range(10):
            with pytest.raises(errors.ServiceError) as down:
                await auth.verify(token(m=number))
            assert down.value.retry_after is not None
        assert transitions(events)[0] == "open"
        server.publish(public("k1"))
        await until(lambda: transitions(events)[-1] == "closed")  # Without any user.
        assert (await auth.verify(token())).subject == "ann"
        assert len([event for event in events if isinstance(event, Recovered)]) == 1
        assert not [event for event in events if isinstance(event, ActorRestarting)]


async def test_without_keys_everybody_is_told_at_once_and_the_first_ones_let_everybody_in() -> None:
    async with jwks_server() as server:
        server.response = http(b"", "500 Internal Server Error")
        async with tree(server.url, ready=False) as events:
            await until(lambda: bool(ring().gate.last_error))
            for number in range(8):
                with pytest.raises((errors.Unavailable, errors.CircuitOpen)):
                    await auth.verify(token(n=number))
            server.publish(public("k1"))
            await until(lambda: transitions(events)[-1:] == ["closed"])
            assert (await auth.verify(token())).subject == "ann"


async def test_a_restart_in_an_outage_does_not_lose_the_keys() -> None:
    async with jwks_server() as server, tree(server.url):
        assert (await auth.verify(token())).subject == "ann"
        server.response = None
        with pytest.raises(errors.ActorCrashed):
            await KEYS.call(MortalConnection.explode)
        await until(lambda: KEYS.offered(KeyRing) is not None)
        assert (await auth.verify(token())).subject == "ann"


GOOD = key_set(public("k1"))
HOSTILE: dict[str, bytes | None] = {
    "hangs": None,
    "closes": b"",
    "half a head": b"HTTP/1.1 200 O",
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "redirect to another host": http(b"", "302 Found", location="http://127.0.0.1:1/keys"),
    "permanent redirect": http(GOOD, "308 Permanent Redirect", location="/other"),
    "not found": http(GOOD, "404 Not Found"),
    "html": http(b"<html>please log in</html>", content_type="text/html"),
    "says it is huge": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n" + GOOD,
    "is huge": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b" " * 400_000 + GOOD,
    "huge head": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n" + GOOD,
    "endless chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"8000\r\n"
    + b" " * 0x8000
    + b"\r\n",
    "zip bomb": http(gzip.compress(b" " * 50_000_000), content_encoding="gzip"),
    "cut off": http(GOOD)[:-20],
    "only secrets": http(key_set({"kty": "oct", "kid": "k1", "k": "c2VjcmV0"})),
    "deep": http(b'{"keys":' + b"[" * 100_000),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_costs_little_and_leaves_the_known_keys_alone(name: str) -> None:
    policy = attrs.evolve(QUICK, probe_every=0.05)
    async with jwks_server() as server, tree(server.url, policy=policy) as events:
        assert (await auth.verify(token())).subject == "ann"
        server.response = HOSTILE[name]
        await until(lambda: any(isinstance(event, AttemptFailed) for event in events))
        assert (await auth.verify(token(n=1))).subject == "ann"
        server.publish(public("k2"))
        await until(lambda: ring().known.keys is not None and ring().known.keys.ids == {"k2"})
        assert (await auth.verify(token("k2"))).subject == "ann"
        assert not [event for event in events if isinstance(event, ActorRestarting)]


async def test_each_event_of_the_connection_is_one_step_of_its_metric() -> None:
    async with jwks_server() as server:
        connection = partial(MortalConnection, server.url, policy=attrs.evolve(QUICK, probe_every=0.05))
        async with open_runtime(supervisor("app", child("keys", connection, name=KEYS))) as runtime:
            events: list[Event] = []
            tallies_of(runtime)
            runtime.events.subscribe(events.append)
            await until(lambda: ring().trouble() == "")
            server.response = http(b"", "503 Service Unavailable")
            await until(lambda: any(isinstance(event, AttemptFailed) for event in events))
            server.publish(public("k1"))
            await until(lambda: ring().gate.live is not None)
            text = (await scrape(runtime))[0].decode()
    for line, kind in (
        ("connection_probes_missed_total", ProbeMissed),
        ("connection_losses_total", LinkLost),
        ("recovery_successes_total", Recovered),
    ):
        count = len([event for event in events if isinstance(event, kind)])
        assert count > 0
        assert f'resprout_{line}{{service="jwks"}} {float(count)}\n' in text
    assert 'resprout_connection_state{service="jwks",state="ready"} 1.0' in text


async def test_a_slow_drip_ends_at_the_deadline() -> None:
    async with jwks_server() as server:
        server.pause = 0.02
        async with tree(server.url, ready=False) as events:
            await until(lambda: any(isinstance(event, AttemptFailed) for event in events), within=5)
            (failed, *_) = [event for event in events if isinstance(event, AttemptFailed)]
            assert failed.kind is FailureKind.TIMEOUT


async def test_certificates_are_verified() -> None:
    authority = trustme.CA()
    server_side, client_side = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(client_side)
    server = JwksServer(0, http(GOOD))
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_ssl_over_tcp_listeners(0, server_side, host="127.0.0.1")
        port = listener.transport_listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.converse, [listener])
        async with tree(f"https://localhost:{port}/keys", context=client_side):
            assert (await auth.verify(token())).subject == "ann"
        for url, context in ((f"https://localhost:{port}", None), (f"https://127.0.0.1:{port}", client_side)):
            async with tree(url, context=context, ready=False) as events:
                await until(lambda: any(isinstance(event, AttemptFailed) for event in events))
                (failed, *_) = [event for event in events if isinstance(event, AttemptFailed)]
                assert failed.kind is FailureKind.TLS
                assert failed.kind.needs_a_human
        nursery.cancel_scope.cancel()


async def test_a_name_that_is_not_known_needs_a_human() -> None:
    async with tree("https://issuer.invalid/keys", ready=False) as events:
        await until(lambda: any(isinstance(event, AttemptFailed) for event in events))
        (failed, *_) = [event for event in events if isinstance(event, AttemptFailed)]
        assert failed.kind is FailureKind.NAME


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1.evil.example/keys",
        "ftp://issuer.example/keys",
        "https://user:password@issuer.example/keys",
        "issuer.example",
        "https://",
        "",
    ],
)
def test_keys_come_by_https_only(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        JwksConnection(url)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithms": "none"}, "none"),
        ({"algorithms": ("RS256", "HS256")}, "HS256"),
        ({"algorithms": ()}, "algorithms"),
        ({"audience": ""}, "audience"),
        ({"issuer": ()}, "issuer"),
        ({"leeway": -1.0}, "leeway"),
        ({"leeway": 3600.0}, "leeway"),
    ],
)
def test_a_verifier_that_would_believe_too_much_is_refused(changes: dict[str, object], says: str) -> None:
    good: dict[str, object] = {"keys": KEYS, "audience": AUDIENCE, "issuer": ISSUER}
    with pytest.raises(ValueError, match=says):
        SignedTokens(**(good | changes))  # type: ignore[arg-type]  # On purpose.


@pytest.mark.parametrize("name", ["keep_for", "refetch_every", "wait", "max_bytes"])
def test_a_policy_without_bounds_is_refused(name: str) -> None:
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=name):
            KeysPolicy(**{name: wrong})
