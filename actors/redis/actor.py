"""The actor that keeps one connection to Redis, for as long as it lives."""

import ssl

import attrs

from resprout.actors.connection.keeper import Keeper
from resprout.actors.connection.policy import DEFAULT_POLICY, KeeperPolicy
from resprout.actors.redis.connect import RedisConnect, UrlSource
from resprout.actors.redis.endpoint import parse_url
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.link import RedisLink
from resprout.runtime.actor import Actor


@attrs.define
class RedisConnection(Actor):
    """Keeps one connection to Redis and lends it to clients: ``RedisClient(REDIS)``.

    An outage is no crash: the connection is made again and again, for ever, and calls get a typed error
    meanwhile. Starting it does not wait for Redis.

    Attributes:
        url: ``redis://…``, ``rediss://…`` or ``unix://…``, or a function, plain or async, that gives one and is
            asked on each attempt, so that credentials can change.
        client_name: What ``CLIENT LIST`` on the server shows.
        limits: Bounds of the link.
        policy: Deadlines, backoff and probes of the connection.
        ssl_context: For ``rediss``; None verifies against the system's certificates.
        service: Name in errors, events and metrics.
    """

    url: UrlSource = attrs.field(repr=False)
    client_name: str = "resprout"
    limits: LinkLimits = attrs.field(factory=LinkLimits)
    policy: KeeperPolicy = DEFAULT_POLICY
    ssl_context: ssl.SSLContext | None = None
    service: str = "redis"
    _keeper: Keeper[RedisLink] = attrs.field(init=False, repr=False)

    @url.validator
    def _check_url(self, _attribute: object, url: UrlSource) -> None:
        if isinstance(url, str):
            parse_url(url)

    async def on_start(self) -> None:
        context = self.context
        connect = RedisConnect(self.url, self.client_name, self.limits, self.ssl_context)
        self._keeper = Keeper(
            self.service,
            connect,
            emit=context.emit,
            actor=context.path,
            random=context.random,
            policy=self.policy,
        )
        context.start_soon(self._keeper.run)
        context.offer(self._keeper.gate)
