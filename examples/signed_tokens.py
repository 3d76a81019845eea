"""Signed tokens, verified with keys that an issuer publishes: a new key is found, and an outage is not noticed.

Needs ``pip install 'resprout[auth]'``.
"""

import json
import time
from functools import partial

import attrs
import jwt
import trio
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from jwt.algorithms import ECAlgorithm

from resprout import Name, child, open_runtime, supervisor
from resprout.actors.auth import AuthClient, Authenticator, InvalidToken
from resprout.actors.auth.signed import Claims, JwksConnection, KeysPolicy, SignedTokens

KEYS = Name(JwksConnection, "keys")
AUTH: Name[Authenticator[Claims]] = Name(Authenticator, "auth")
ISSUER = "https://id.example"


@attrs.define
class Issuer:
    """Stands for an identity provider: signs tokens, and publishes its keys until it is told to fail."""

    keys: dict[str, EllipticCurvePrivateKey] = attrs.field(factory=dict)
    down: bool = False

    def token(self, kid: str, subject: str) -> str:
        """A token for *subject*, signed with the key *kid*, which is made if need be."""
        key = self.keys.setdefault(kid, generate_private_key(SECP256R1()))
        claims = {"sub": subject, "iss": ISSUER, "aud": "chat", "exp": time.time() + 300}
        return jwt.encode(claims, key, "ES256", headers={"kid": kid})

    async def answer(self, stream: trio.SocketStream) -> None:
        """One HTTP request."""
        public = [
            ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid}
            for kid, key in self.keys.items()
        ]
        body = json.dumps({"keys": public})
        status = "503 Service Unavailable" if self.down else "200 OK"
        await stream.receive_some()
        await stream.send_all(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await stream.aclose()


async def main() -> None:
    issuer = Issuer()
    first = issuer.token("k1", "ann")
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/keys"
    signed = SignedTokens(keys=KEYS, audience="chat", issuer=ISSUER, algorithms="ES256")
    app = supervisor(
        "app",
        child("keys", partial(JwksConnection, url, keys=KeysPolicy(refetch_every=0.2)), name=KEYS),
        child("auth", partial(Authenticator, signed), name=AUTH),
    )
    async with trio.open_nursery() as nursery, open_runtime(app):
        nursery.start_soon(trio.serve_listeners, issuer.answer, [listener])
        auth = AuthClient(AUTH)
        print("welcome,", (await auth.verify(first)).subject)
        await trio.sleep(0.3)
        print("a new key:", (await auth.verify(issuer.token("k2", "bob"))).subject)
        issuer.down = True
        print("the issuer is down:", (await auth.verify(issuer.token("k2", "cyd"))).subject)
        try:
            await auth.verify(first[:-4] + "AAAA")
        except InvalidToken as error:
            print("forged:", error)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
