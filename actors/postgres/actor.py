"""The actor that keeps a pool of connections to Postgres, for as long as it lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import attrs

import resprout.actors.postgres.kinds as _kinds  # noqa: F401 - teaches which errors need a human.
from resprout.actors.connection.actor import Connection, Status
from resprout.actors.connection.gate import Gate
from resprout.actors.postgres.asyncpg_driver import AsyncpgDriver
from resprout.actors.postgres.connect import DsnSource, PoolConnect, dsn_from
from resprout.actors.postgres.driver import Driver
from resprout.actors.postgres.dsn import check_dsn
from resprout.actors.postgres.homes import InActors
from resprout.actors.postgres.policy import PoolPolicy
from resprout.actors.postgres.pool import Pool
from resprout.actors.postgres.pool_rules import Census
from resprout.actors.postgres.session_setup import SessionSetup, TypeCodec, settings_of
from resprout.actors.postgres.setting import Setting
from resprout.supervisors import DynamicSupervisor, dynamic_supervisor


@attrs.frozen
class PoolStatus(Status):
    """`Status`, and how many connections there are; *waiting* callers stand in line."""

    connections: Census
    waiting: int
    refused: int


def _check(_actor: object, _attribute: object, dsn: DsnSource) -> None:
    if isinstance(dsn, str):
        check_dsn(dsn)


@attrs.define
class PostgresPool(Connection):
    """Keeps a pool of connections to Postgres and lends them to clients: ``PostgresClient(DB)``.

    An outage is no crash: connections are made again and again, for ever, and callers get a typed error
    meanwhile. Starting it does not wait for Postgres. Each connection lives in an actor of its own, below
    ``connections``: the tree shows what it does, and stopping it closes the connection.

    Attributes:
        dsn: ``postgresql://user:password@host:port/database?options``, or a function, plain or async, that gives
            one and is asked on each attempt, so that credentials can change. TLS is verified unless the DSN
            says otherwise (``sslmode=…``) or the server is on this machine.
        policy: Sizes, deadlines, backoff and probes.
        min_size: If given, instead of the policy's.
        max_size: If given, instead of the policy's.
        service: Name in errors, events and metrics.
        codecs: For types whose values should be others than asyncpg's; set on every new connection.
        server_settings: Told to the server by every new connection, such as ``{"search_path": "app"}``.
        statement_timeout: Seconds after which the server itself ends a statement (`asyncpg.QueryCanceledError`),
            even if the client could not ask it to. Above the timeouts of clients.
        driver: What opens connections; None for asyncpg, set up as above.
    """

    dsn: DsnSource = attrs.field(repr=False, validator=_check)
    policy: PoolPolicy = attrs.field(factory=PoolPolicy)
    min_size: int | None = None
    max_size: int | None = None
    service: str = "postgres"
    codecs: Sequence[TypeCodec] = ()
    server_settings: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    statement_timeout: float | None = None
    driver: Driver | None = attrs.field(default=None, repr=False)
    _pools: Gate[Pool] | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        sizes = {"min_size": self.min_size, "max_size": self.max_size}
        given = {name: size for name, size in sizes.items() if size is not None}
        self.policy = attrs.evolve(self.policy, **given)  # type: ignore[arg-type]  # Named as the fields are.
        if self.driver is None:
            settings = settings_of(self.server_settings, self.statement_timeout)
            self.driver = AsyncpgDriver(SessionSetup(self.codecs, settings))

    async def on_start(self) -> None:
        """Begin to connect."""
        context = self.context
        assert self.driver is not None  # Since it was made.
        lives = dynamic_supervisor("connections")
        connections = await context.spawn(lives.id, partial(DynamicSupervisor, lives))
        connect = PoolConnect(
            Setting(
                service=self.service,
                actor=context.path,
                dsn=partial(dsn_from, self.dsn),
                driver=self.driver,
                policy=self.policy,
                emit=context.emit,
                random=context.random,
                homes=InActors(connections),
            )
        )
        connect.gate = self._pools = self.keep(self.service, connect, self.policy.keeper)

    async def status(self) -> PoolStatus:
        """The pool's state, as data."""
        common = await super().status()
        pool = self._pools.live if self._pools is not None else None
        return PoolStatus(
            **attrs.asdict(common, recurse=False),
            connections=Census(empty=self.policy.max_size) if pool is None else pool.census(),
            waiting=0 if pool is None else len(pool.line),
            refused=0 if pool is None else pool.refused,
        )
