"""The actor that keeps one connection to Redis, for as long as it lives."""

import attrs

import resprout.actors.redis.kinds as _kinds  # noqa: F401 - teaches which errors need a human.
from resprout.actors.connection.actor import Connection
from resprout.actors.connection.policy import DEFAULT_POLICY, KeeperPolicy
from resprout.actors.redis.connect import ContextSource, RedisConnect, UrlSource
from resprout.actors.redis.line import LinkLimits
from resprout.actors.redis.sentinel import parse_source


def _is_readable(_actor: object, _field: object, url: UrlSource) -> None:
    if isinstance(url, str):
        parse_source(url)


@attrs.define
class RedisConnection(Connection):
    """Keeps one connection to Redis and lends it to clients: ``RedisClient(REDIS)``.

    An outage is no crash: the connection is made again and again, for ever, and calls get a typed error
    meanwhile. Starting it does not wait for Redis.

    Attributes:
        url: ``redis://…``, ``rediss://…``, ``unix://…`` or ``redis+sentinel://…``, or a function, plain or async,
            that gives one and is asked on each attempt, so that credentials can change.
        client_name: What ``CLIENT LIST`` on the server shows.
        limits: Bounds of the link.
        policy: Deadlines, backoff and probes of the connection.
        ssl_context: For ``rediss``, or a function asked for it on each attempt; None verifies against the
            system's certificates.
        service: Name in errors, events and metrics.
    """

    url: UrlSource = attrs.field(repr=False, validator=_is_readable)
    client_name: str = "resprout"
    limits: LinkLimits = attrs.field(factory=LinkLimits)
    policy: KeeperPolicy = DEFAULT_POLICY
    ssl_context: ContextSource = None
    service: str = "redis"

    async def on_start(self) -> None:
        self.keep(
            self.service,
            RedisConnect(self.url, self.client_name, self.limits, self.ssl_context),
            self.policy,
        )
