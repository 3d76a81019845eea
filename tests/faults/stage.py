"""A component on its stage: a real server, the proxy before it, the actor that uses it, and callers."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import ClassVar

import attrs
import trio

from resprout.actors.connection import AttemptFailed, KeeperPolicy
from resprout.runtime import Event
from resprout.runtime.breaker_policy import BreakerPolicy
from resprout.runtime.lifecycle import ActorRestarting
from resprout.supervisors import ChildSpec
from resprout.testing import FaultProxy, LocalServer
from tests.faults.history import History, Kind
from tests.faults.judge import Truth

CALLERS = 12
PAUSE = 0.02  # Seconds between two calls of one caller.
TIMEOUT = 1.0  # Of every call, in seconds.
CROWD = 1_000
CROWD_TIMEOUT = 5.0  # Of each of them: long enough to wait until the server is back.
SHORT = BreakerPolicy(open_for=1.0, open_cap=2.0)  # Instead of 30 s and 120 s.


@attrs.define(eq=False)
class Stage(ABC):
    """What a fault may strike, and what is asked meanwhile. One subclass for each component.

    Attributes:
        server: The real server.
        proxy: Between the component and the server.
        history: Of all calls.
        patience: For how long the next caller waits before it leaves.
        events: What the runtime told.
        quick: Waits of half a minute, such as that of an open breaker, take a second.
        hasty: Each `hasten` counts, however many there are.
        stopping: Callers make no new calls.
    """

    name: ClassVar[str]
    hogs: ClassVar[str]
    """How `exhaust` takes everything there is."""

    server: LocalServer
    proxy: FaultProxy
    history: History = attrs.field(factory=History)
    random: Random = attrs.field(factory=lambda: Random(7))
    patience: Callable[[], float] = lambda: math.inf
    events: list[Event] = attrs.field(factory=list)
    quick: bool = False
    hasty: bool = False
    stopping: bool = False
    _numbers: "itertools.count[int]" = attrs.field(factory=itertools.count)

    # The component.

    @abstractmethod
    async def prepare(self) -> None:
        """Put into the server what the calls need, past the proxy."""

    @abstractmethod
    def children(self) -> Sequence[ChildSpec]:
        """The component's part of the tree."""

    @abstractmethod
    async def turn(self, caller: int) -> None:
        """Make a call or two."""

    @abstractmethod
    async def crowd_call(self, caller: int) -> None:
        """Make one call that waits for its turn, as one of a crowd."""

    @abstractmethod
    def hasten(self) -> None:
        """Ask for an attempt to connect now, as an operator or the health monitor would."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it says of itself that it serves."""

    @abstractmethod
    def imbalance(self) -> list[str]:
        """What it has lost count of, once nobody asks it anything."""

    @abstractmethod
    async def truth(self) -> Truth:
        """What the server holds, looked up past the proxy and without resprout."""

    # What can be done to its server besides killing it. Each pair undoes itself.

    @abstractmethod
    async def lock_out(self) -> None:
        """Refuse its password, and end its connections."""

    @abstractmethod
    async def let_in(self) -> None:
        """Undo `lock_out`."""

    @abstractmethod
    async def fill_up(self) -> None:
        """Have no room for one more connection, and end those it has."""

    @abstractmethod
    async def make_room(self) -> None:
        """Undo `fill_up`."""

    @abstractmethod
    async def demote(self) -> None:
        """Make it read-only."""

    @abstractmethod
    async def promote(self) -> None:
        """Undo `demote`."""

    @abstractmethod
    async def exhaust(self, nursery: trio.Nursery) -> None:
        """Take every connection or place there is; see `hogs`."""

    @abstractmethod
    async def release(self) -> None:
        """Undo `exhaust`."""

    @property
    def policy(self) -> KeeperPolicy:
        """Of its connection."""
        policy = KeeperPolicy(nudge_every=0.01) if self.hasty else KeeperPolicy()
        return attrs.evolve(policy, breaker=SHORT) if self.quick else policy

    # The callers.

    async def work(self, caller: int) -> None:
        """Make calls, one after the other, until the stage stops."""
        while not self.stopping:
            await self.turn(caller)
            await trio.sleep(PAUSE)

    async def call(
        self,
        caller: int,
        kind: Kind,
        value: str,
        ask: Callable[[], Awaitable[object]],
        timeout: float = TIMEOUT,
    ) -> None:
        """Make one call and write it down."""
        await self.history.call(
            f"{self.name} {caller}", kind, value, ask, timeout=timeout, patience=self.patience()
        )

    def value(self, caller: int) -> str:
        """One that nobody else has."""
        return f"{self.name}-{caller}-{next(self._numbers)}"

    async def crowd(self, nursery: trio.Nursery, size: int = CROWD) -> None:
        """Let *size* more callers ask at once."""
        for number in range(size):
            nursery.start_soon(self.crowd_call, CALLERS + number)
        await trio.lowlevel.checkpoint()

    # What is counted.

    def attempts_failed(self) -> int:
        """Attempts to connect that failed."""
        return sum(isinstance(event, AttemptFailed) for event in self.events)

    def restarts(self) -> list[str]:
        """Actors that crashed: an outage is no reason to."""
        return [event.actor for event in self.events if isinstance(event, ActorRestarting)]

    def behind_proxy(self, url: str) -> str:
        """The server's *url* as the component gets it."""
        return url.replace(f":{self.server.port}", f":{self.proxy.port}")
