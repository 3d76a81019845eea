"""Redis on stage: appends, counts and echoes through one connection."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import attrs
import redis
import trio

from resprout.actors.connection import Gate, Ready
from resprout.actors.redis import FAIL_FAST, WAIT, LinkLimits, RedisClient, RedisConnection
from resprout.runtime import Name
from resprout.supervisors import ChildSpec, child
from tests.faults.history import Kind
from tests.faults.judge import Truth
from tests.faults.stage import CROWD_TIMEOUT, TIMEOUT, Stage

REDIS: Name[RedisConnection] = Name(RedisConnection, "faults-redis")
WAITING = RedisClient(REDIS, timeout=TIMEOUT, on_down=WAIT)
IMPATIENT = RedisClient(REDIS, timeout=TIMEOUT, on_down=FAIL_FAST)
PATIENT = RedisClient(REDIS, timeout=CROWD_TIMEOUT, on_down=WAIT)
NOWHERE = ("127.0.0.1", "1")  # Nobody listens there, so that a replica of it keeps what it has.


@attrs.define(eq=False)
class RedisStage(Stage):
    """Half of the callers wait for the connection, the others want to know at once."""

    name: ClassVar[str] = "redis"
    hogs: ClassVar[str] = "the server hangs; 1,000 callers on a link that takes 200 commands"

    _admin: "redis.Redis | None" = None

    async def prepare(self) -> None:
        self.history.refusals = (redis.exceptions.ResponseError,)

    def children(self) -> Sequence[ChildSpec]:
        url, limits = self.behind_proxy(self.server.url), LinkLimits(max_in_flight=200)
        return [child("redis", partial(RedisConnection, url, limits=limits, policy=self.policy), name=REDIS)]

    async def turn(self, caller: int) -> None:
        client = WAITING if caller % 2 else IMPATIENT
        value = self.value(caller)
        match caller % 3:
            case 0:
                await self.call(caller, Kind.WRITE, value, lambda: client.rpush("log", value))
            case 1:
                await self.call(caller, Kind.COUNT, value, lambda: client.incr("count"))
            case _:
                await self.call(caller, Kind.ASK, value, lambda: client.echo(value))

    async def crowd_call(self, caller: int) -> None:
        await self.call(caller, Kind.COUNT, self.value(caller), lambda: PATIENT.incr("count"), CROWD_TIMEOUT)

    def hasten(self) -> None:
        hasten(REDIS)

    def ready(self) -> bool:
        return is_ready(REDIS)

    def imbalance(self) -> list[str]:
        gate = REDIS.offered(Gate)
        return [] if gate is None or gate.live is None or gate.live.idle else ["a slot of the link is taken"]

    async def truth(self) -> Truth:
        held: list[str] = await self.admin("LRANGE", "log", "0", "-1")
        return Truth(Counter(held), int(await self.admin("GET", "count") or 0))

    async def lock_out(self) -> None:
        await self.admin("CONFIG", "SET", "requirepass", "changed")
        await self.end_connections()

    async def let_in(self) -> None:
        await self.admin("CONFIG", "SET", "requirepass", "")

    async def fill_up(self) -> None:
        await self.admin("CONFIG", "SET", "maxclients", "1")
        await self.end_connections()

    async def make_room(self) -> None:
        await self.admin("CONFIG", "SET", "maxclients", "1000")

    async def demote(self) -> None:
        await self.admin("REPLICAOF", *NOWHERE)

    async def promote(self) -> None:
        await self.admin("REPLICAOF", "NO", "ONE")

    async def exhaust(self, nursery: trio.Nursery) -> None:
        self.server.freeze()
        await self.crowd(nursery)

    async def release(self) -> None:
        self.server.thaw()
        await trio.lowlevel.checkpoint()

    async def end_connections(self) -> None:
        """End those of the component."""
        await self.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def admin(self, *words: str) -> Any:
        """A command over one connection of redis-py's own, past the proxy."""
        if self._admin is None:
            self._admin = redis.Redis.from_url(
                self.server.url, decode_responses=True, single_connection_client=True
            )
        return await trio.to_thread.run_sync(self._admin.execute_command, *words)


def is_ready(name: Name[Any]) -> bool:
    """Whether the connection called *name* is ready."""
    gate = name.offered(Gate)
    return gate is not None and isinstance(gate.state, Ready)


def hasten(name: Name[Any]) -> None:
    """Bring the next attempt of the connection called *name* forward."""
    if (gate := name.offered(Gate)) is not None:
        gate.nudge()
