"""The base of actors that own a connection: a thin face over a keeper.

    @attrs.define
    class RedisConnection(Connection):
        url: str

        async def on_start(self) -> None:
            self.keep("redis", RedisConnect(self.url))

Clients do not send their commands through the mailbox: they take the gate that the actor offers
(``REDIS.offered(Gate)``) and use its link in their own task. The mailbox is for operators.
"""

from typing import Final, Protocol

import attrs
import trio

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.keeper import Connect, Keeper
from resprout.actors.connection.link import L
from resprout.actors.connection.policy import DEFAULT_POLICY, KeeperPolicy
from resprout.actors.connection.states import ConnectionState, Draining, Stopped, retry_after
from resprout.runtime.actor import Actor
from resprout.runtime.errors import Unavailable
from resprout.runtime.exits import ExitReason, Shutdown
from resprout.runtime.telling import sentence

INSPECT_EVERY: Final = 30.0

# After the loop or the machine stood still, everything is late for a moment, and nothing is wrong.
STUCK_GRACE: Final = 1.0

# Less than the 5 s a child has to stop by default, so that the link can still be closed in good order.
STOP_DRAIN: Final = 3.0


class ConnectionStuckError(Exception):
    """A connection neither worked nor tried: a bug here. Crashing gives it a fresh keeper."""

    def __init__(self, service: str, state: ConnectionState) -> None:
        super().__init__(f"the connection to {service} stands still: {state}")
        self.service, self.state = service, state


@attrs.frozen
class Status:
    """One connection at one moment; *retry_after* is None only for one that has been stopped."""

    service: str
    state: ConnectionState
    retry_after: float | None
    last_error: str


class Steered(Protocol):
    """What an operator can do with a gate, whatever its links are. Each member is described in `Gate`."""

    service: str
    last_error: Exception | None

    @property
    def state(self) -> ConnectionState: ...

    @property
    def drains(self) -> bool: ...

    def nudge(self) -> None: ...

    def reconnect(self, why: str) -> None: ...

    def rotate(self, why: str) -> None: ...

    def drain(self) -> None: ...

    def is_stuck(self) -> bool: ...

    async def wait_stopped(self) -> None: ...


@attrs.define
class Connection(Actor):
    """Owns a connection. An outage of the remote never crashes it; only a programming error does.

    A subclass calls `keep` in its `on_start`, which returns at once: starting never waits for the remote.
    """

    _gate: Steered | None = attrs.field(default=None, init=False, repr=False)

    def keep(
        self,
        service: str,
        connect: Connect[L],
        policy: KeeperPolicy = DEFAULT_POLICY,
        *,
        offer: bool = True,
    ) -> Gate[L]:
        """Keep a connection through *connect* until this actor ends.

        Args:
            service: Name in errors, events and metrics.
            connect: One attempt; see `resprout.actors.connection.keeper`.
            policy: Deadlines and delays.
            offer: Whether to offer the gate itself to clients; False if the caller offers a face of its own.
        """
        context = self.context
        keeper = Keeper(
            service, connect, emit=context.emit, actor=context.path, random=context.random, policy=policy
        )
        self._gate = keeper.gate
        context.start_soon(keeper.run)
        context.every(INSPECT_EVERY, Connection.inspect)
        if offer:
            context.offer(keeper.gate)
        return keeper.gate

    async def status(self) -> Status:
        """The connection's state, as data."""
        gate = self._kept()
        error = gate.last_error
        return Status(
            service=gate.service,
            state=gate.state,
            retry_after=retry_after(gate.state, trio.current_time()),
            last_error=sentence(error) if error is not None else "",
        )

    async def nudge(self) -> None:
        """Bring the next attempt forward; at most once a second takes effect."""
        self._kept().nudge()

    async def reconnect(self, reason: str) -> None:
        """Drop the link and make a new one. After a change of credentials `rotate` is better: it fails no call."""
        self._kept().reconnect(reason)

    async def rotate(self, reason: str) -> None:
        """Make a new link, with the credentials there are now, and let it take over; no call fails."""
        self._kept().rotate(reason)

    async def drain(self) -> None:
        """Refuse new work at once and stop when the calls in flight are done. Only a restart undoes this."""
        self._kept().drain()

    async def inspect(self) -> None:
        """Crash if the connection stands still. A timer sends this every 30 s; it watches our own code."""
        gate = self._kept()
        before = gate.state
        if gate.is_stuck():
            await trio.sleep(STUCK_GRACE)
            if gate.state == before and gate.is_stuck():
                raise ConnectionStuckError(gate.service, gate.state)

    async def on_stop(self, reason: ExitReason) -> None:
        """Let calls in flight finish, if the stop was asked for and the link knows when it is idle."""
        gate = self._gate
        if gate is None or not isinstance(reason, Shutdown) or isinstance(gate.state, Stopped):
            return
        if gate.drains or isinstance(gate.state, Draining):
            gate.drain()
            with trio.move_on_after(STOP_DRAIN):
                await gate.wait_stopped()

    def _kept(self) -> Steered:
        if self._gate is None:
            raise Unavailable(self.context.path, "no connection is kept here yet")
        return self._gate
