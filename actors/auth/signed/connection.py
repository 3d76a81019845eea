"""The actor that keeps the keys of an issuer up to date: `JwksConnection`."""

import ssl
from typing import Final
from weakref import WeakKeyDictionary

import attrs
import httpx2
import trio

from resprout.actors.auth.signed.fetch import check_url, context_for, fetch, make_client
from resprout.actors.auth.signed.keyset import read_key_set
from resprout.actors.auth.signed.ring import DEFAULT_KEYS, KeyRing, KeysPolicy, Known
from resprout.actors.connection import Connection, KeeperPolicy, Link

REFRESH: Final = KeeperPolicy(probe_every=300.0)

_known: WeakKeyDictionary[object, tuple[str, Known]] = WeakKeyDictionary()
"""The keys of each place in a tree: a restart during an outage must not lose them."""


class JwksLink:
    """Access to the URL. There is no lasting connection: the probe is the fetch, and each makes its own."""

    def __init__(self, client: httpx2.AsyncClient, url: str, known: Known, max_bytes: int) -> None:
        self._client, self._url, self._known, self._max_bytes = client, url, known, max_bytes

    async def probe(self) -> None:
        """Fetch the keys and remember them."""
        keys = read_key_set(await fetch(self._client, self._url, self._max_bytes))
        self._known.keys, self._known.confirmed_at = keys, trio.current_time()

    async def wait_lost(self) -> Exception:
        """Only a probe can tell."""
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Forget the client."""
        await self._client.aclose()


@attrs.define
class JwksConnection(Connection):
    """Keeps the public keys that an issuer of tokens publishes at *url*; `SignedTokens` verifies with them.

    It fetches the keys at the start, every five minutes, and when a token names an unknown one. While the URL is
    away it tries for ever, and the keys that are known serve on for `KeysPolicy.keep_for`. They survive a
    restart of this actor. It offers a `KeyRing`.

    Attributes:
        url: ``https://…``; plain ``http`` for this machine only. Redirects are not followed.
        keys: For how long keys are used, and bounds.
        policy: Deadlines and backoff; its ``probe_every`` is the time between two regular refreshes.
        ssl_context: None verifies against the system's certificates.
        service: Name in errors, events and metrics.

    Raises:
        ValueError: If *url* is not one of these.
    """

    url: str = attrs.field(validator=lambda _self, _field, url: check_url(url))
    keys: KeysPolicy = DEFAULT_KEYS
    policy: KeeperPolicy = REFRESH
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    service: str = "jwks"

    async def on_start(self) -> None:
        context = self.context
        url, known = _known.get(context.cell, ("", Known()))
        if url != self.url:
            known = Known()
            _known[context.cell] = (self.url, known)
        tls = self.ssl_context or context_for(self.url)

        async def connect(nursery: trio.Nursery) -> Link:
            await trio.lowlevel.checkpoint()
            return JwksLink(make_client(tls), self.url, known, self.keys.max_bytes)

        gate = self.keep(self.service, connect, self.policy, offer=False)
        context.offer(KeyRing(gate, known, self.keys, spawn=context.start_soon))
