"""An issuer of tokens: real keys, real tokens, and a real HTTP server that misbehaves on demand."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Protocol

import attrs
import jwt
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://issuer.example", "chat"


class _Key(Protocol):
    def public_key(self) -> object: ...


@cache
def key(
    kid: str, kind: str = "EC"
) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    """The private key *kid*; made once."""
    match kind:
        case "RSA":
            return rsa.generate_private_key(65537, 2048)
        case "RSA-1024":
            return rsa.generate_private_key(65537, 1024)
        case "OKP":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return ec.generate_private_key(ec.SECP256R1())


def public(name: str, kind: str = "EC", /, **more: object) -> dict[str, object]:
    """The public key *name* as a JWK."""
    algorithm = {"EC": ECAlgorithm, "OKP": OKPAlgorithm}.get(kind, RSAAlgorithm)
    jwk = json.loads(algorithm.to_jwk(key(name, kind).public_key()))
    return {**jwk, "kid": name, **more}


def key_set(*jwks: Mapping[str, object]) -> bytes:
    """A JWKS document."""
    return json.dumps({"keys": jwks}).encode()


def token(kid: str = "k1", kind: str = "EC", algorithm: str = "ES256", **claims: object) -> str:
    """A token for ann, good for five minutes; *claims* replace the usual ones, None leaves one out."""
    now = time.time()
    usual: dict[str, object] = {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": now + 300, "iat": now}
    said = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode(said, key(kid, kind), algorithm, headers={"kid": kid})


def http(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@attrs.define
class JwksServer:
    """Answers every request with *response*, byte for byte; None: never."""

    port: int
    response: bytes | None
    requests: int = 0
    pause: float = 0.0  # Before each byte.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys"

    def publish(self, *jwks: Mapping[str, object]) -> None:
        """Answer with these keys from now on."""
        self.response = http(key_set(*jwks), content_type="application/json")

    async def converse(self, stream: trio.abc.Stream) -> None:
        try:
            async with stream:
                received = b""
                while b"\r\n\r\n" not in received:
                    if not (piece := await stream.receive_some()):
                        return
                    received += piece
                self.requests += 1
                while self.response is None:
                    await trio.sleep(0.01)
                if not self.pause:
                    await stream.send_all(self.response)
                for at in range(len(self.response) if self.pause else 0):
                    await trio.sleep(self.pause)
                    await stream.send_all(self.response[at : at + 1])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # The client has gone.


@asynccontextmanager
async def jwks_server(*jwks: Mapping[str, object]) -> AsyncIterator[JwksServer]:
    """A server that publishes *jwks*, or ``k1`` if none is given."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = JwksServer(listener.socket.getsockname()[1], None)
        server.publish(*(jwks or (public("k1"),)))
        nursery.start_soon(trio.serve_listeners, server.converse, [listener])
        yield server
        nursery.cancel_scope.cancel()
