"""A remote service that exists only in the test, with the connection to it and the client that uses it.

    redis = FakeService("redis")
    redis.answers(RedisClient.get, b"42")
    shop = partial(Shop, redis.client(REDIS, like=RedisClient))
    tree = supervisor("app", redis.child("redis", name=REDIS), child("shop", shop))

The connection is a real `Connection` with a real keeper: its states, delays, probes, events and errors are
those of `RedisConnection` and its like. Only the remote is made up, and does as the test says.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import trio

from resprout.actors.connection.actor import Connection
from resprout.actors.connection.gate import Gate
from resprout.actors.connection.on_down import FAIL_FAST, OnDown
from resprout.actors.connection.policy import DEFAULT_POLICY, KeeperPolicy
from resprout.actors.connection.states import ConnectionState, retry_after
from resprout.runtime import Actor, DeadlineExceeded, OutcomeUnknown, Sent, Unavailable
from resprout.runtime.nurseries import bare_nursery
from resprout.supervisors import PERMANENT, ChildSpec, RestartType, child
from resprout.testing.opening import current_runtime
from resprout.testing.waiting import PATIENCE, poll

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from resprout.runtime import Address, Name

A = TypeVar("A", bound=Actor)
C = TypeVar("C")


@attrs.frozen
class Request:
    """One request that reached the fake service."""

    method: str
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    at: float


class FakeService:
    """A remote under the control of a test. Up and prompt at first.

    Args:
        service: Its name in errors, events and metrics.
        policy: Deadlines, delays and probes of the connection.

    Attributes:
        requests: What reached it, the oldest first; also what it never answered.
        attempts: How often the connection tried to connect.
    """

    def __init__(self, service: str = "fake", policy: KeeperPolicy = DEFAULT_POLICY) -> None:
        self.service, self.policy = service, policy
        self.requests: list[Request] = []
        self.attempts = 0
        self._refusal: Exception | None = None
        self._delay = 0.0
        self._silent = False
        self._scripts: dict[str, Callable[..., Awaitable[object]]] = {}
        self._failures: dict[str, deque[Exception]] = {}
        self._links: list[FakeLink] = []
        self._gate: Gate[FakeLink] | None = None

    # In a tree.

    def start(self) -> Connection:
        """A fresh connection actor: what ``child(id, service.start, …)`` needs."""
        return FakeConnection(self)

    def child(self, id: str, *, name: Name[A] | None = None, restart: RestartType = PERMANENT) -> ChildSpec:
        """The connection as a child, under the *name* of the real one; see `start` for other options."""
        return child(id, cast("Callable[[], A]", self.start), name=name, restart=restart)

    def client(
        self,
        connection: Address[A],
        like: type[C],
        *,
        timeout: float = 5.0,
        on_down: OnDown = FAIL_FAST,
        idempotent: bool = False,
    ) -> C:
        """A client that passes for *like*: each of its methods becomes a request to this service.

        Args:
            connection: Name or ref of the connection in the tree.
            like: The class of the real client, such as ``RedisClient``. Only its `await`-ed methods are there.
            timeout: Seconds a call may take.
            on_down: While there is no connection, raise `Unavailable` at once or WAIT for it.
            idempotent: Whether an unanswered call may be repeated: `DeadlineExceeded`, not `OutcomeUnknown`.
        """
        return cast("C", _Client(self, connection, like, timeout, on_down, idempotent))

    # What it does.

    def answers(self, method: Callable[..., object] | str, value: object) -> None:
        """Answer *method* with *value* from now on. A method nobody scripted is answered with None."""

        async def script(*args: object, **kwargs: object) -> object:
            return value

        self._scripts[_name(method)] = script

    def runs(self, method: Callable[..., object] | str, stand_in: Callable[..., Awaitable[object]]) -> None:
        """Answer *method* with what *stand_in* returns or raises; it gets the arguments of the call."""
        self._scripts[_name(method)] = stand_in

    def fail(self, method: Callable[..., object] | str, error: Exception, *, times: int = 1) -> None:
        """Answer the next *times* calls of *method* with *error*; the connection stays up."""
        self._failures.setdefault(_name(method), deque()).extend([error] * times)

    def slow(self, seconds: float) -> None:
        """Take so long for each answer from now on; 0 is prompt again."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"a delay must be 0 or more finite seconds, not {seconds!r}; see hang()")
        self._delay = seconds

    def hang(self) -> None:
        """Answer nothing any more, neither calls nor probes nor attempts to connect; see `up`."""
        self._silent = True

    def down(self, error: Exception | None = None) -> None:
        """Break every connection and refuse new ones with *error*; see `up`."""
        self._refusal = error if error is not None else ConnectionRefusedError(f"{self.service} is down")
        self.reset(error)

    def reset(self, error: Exception | None = None) -> None:
        """Break the connection; a new one can be made at once."""
        for link in self._links:
            link.break_with(error if error is not None else ConnectionResetError("reset by peer"))
        self._links.clear()

    def up(self) -> None:
        """Accept connections and answer again. The connection finds out at its next attempt, not at once."""
        self._refusal, self._silent = None, False

    @property
    def state(self) -> ConnectionState | None:
        """The state of the connection; None while its actor does not run."""
        return self._gate.state if self._gate is not None else None

    async def wait_ready(self, *, within: float = PATIENCE) -> None:
        """Wait until calls pass. Raises `WaitedInVain` if they do not."""
        await self._wait(lambda gate: gate.live is not None, "a connection", within)

    async def wait_down(self, *, within: float = PATIENCE) -> None:
        """Wait until calls are refused. Raises `WaitedInVain` if they are not."""
        await self._wait(lambda gate: gate.live is None, "the loss of the connection", within)

    async def _wait(self, condition: Callable[[Gate[FakeLink]], bool], what: str, within: float) -> None:
        await poll(
            lambda: self._gate is not None and condition(self._gate),
            within,
            f"{what} to {self.service}",
            current_runtime(),
        )

    # For the connection.

    async def connect(self, nursery: trio.Nursery) -> FakeLink:
        """One attempt, as `resprout.actors.connection.keeper` wants it."""
        self.attempts += 1
        await self._silence()
        if self._refusal is not None:
            raise self._refusal
        link = FakeLink(self)
        self._links.append(link)
        return link

    async def _silence(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._silent:
            await trio.sleep_forever()

    async def handle(self, request: Request) -> object:
        """The answer to *request*, in its time."""
        self.requests.append(request)
        await self._silence()
        if self._delay:
            await trio.sleep(self._delay)
        failures = self._failures.get(request.method)
        if failures:
            raise failures.popleft()
        script = self._scripts.get(request.method)
        return await script(*request.args, **request.kwargs) if script is not None else None


@attrs.define
class FakeConnection(Connection):
    """Keeps a connection to a `FakeService`."""

    remote: FakeService

    async def on_start(self) -> None:
        """See `Connection`."""
        self.remote._gate = self.keep(self.remote.service, self.remote.connect, self.remote.policy)


class FakeLink:
    """One connection to a fake service."""

    def __init__(self, remote: FakeService) -> None:
        self._remote = remote
        self._broken = trio.Event()
        self._why: Exception = ConnectionResetError("reset by peer")

    async def probe(self) -> None:
        """See `Link`."""
        await self._remote._silence()

    async def wait_lost(self) -> Exception:
        """See `Link`."""
        await self._broken.wait()
        return self._why

    async def aclose(self) -> None:
        """See `Link`."""
        self.break_with(ConnectionError("closed"))
        await trio.lowlevel.checkpoint()

    def break_with(self, why: Exception) -> None:
        """Nothing passes any more."""
        if not self._broken.is_set():
            self._why = why
            self._broken.set()

    async def request(self, request: Request) -> object:
        """Send *request* and return the answer. Raises `_Lost` if the connection breaks before it comes."""
        with trio.CancelScope() as scope:
            async with bare_nursery() as nursery:
                nursery.start_soon(self._cut, scope)
                return await self._remote.handle(request)
        raise _Lost(self._why)

    async def _cut(self, scope: trio.CancelScope) -> None:
        await self._broken.wait()
        scope.cancel()


class _Lost(Exception):
    """The connection broke while a request was unanswered."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


@attrs.frozen
class _Client:
    """Passes for a client of class *like*."""

    _remote: FakeService
    _connection: Address[Any]
    _like: type[Any]
    _timeout: float
    _on_down: OnDown
    _idempotent: bool

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        if name.startswith("__") or not callable(getattr(self._like, name, None)):
            raise AttributeError(f"{self._like.__name__} has no method {name!r}")

        async def method(*args: object, **kwargs: object) -> object:
            return await self._call(Request(name, args, kwargs, trio.current_time()))

        method.__name__ = name
        return method

    async def _call(self, request: Request) -> object:
        deadline = trio.current_time() + self._timeout
        gate = self._find()
        link = await gate.wait_link(deadline) if self._on_down is OnDown.WAIT else gate.link()
        why: Exception = TimeoutError(f"no answer within {self._timeout:g} s")
        try:
            with trio.move_on_at(deadline):
                answer = await link.request(request)
                gate.succeeded()
                return answer
        except _Lost as lost:
            gate.lost(link, lost.why)
            why = lost.why
        raise self._unanswered(gate, why)

    def _find(self) -> Gate[FakeLink]:
        gate = self._connection.offered(Gate)
        if gate is None:
            raise Unavailable(
                self._remote.service, "its actor is not running", state="restarting", retry_after=0.25
            )
        return gate

    def _unanswered(self, gate: Gate[FakeLink], why: Exception) -> DeadlineExceeded | OutcomeUnknown:
        kind = DeadlineExceeded if self._idempotent else OutcomeUnknown
        return kind(
            self._remote.service,
            f"no answer; {_conclusion(self._idempotent)} ({why})",
            state=gate.state.name,
            retry_after=retry_after(gate.state, trio.current_time()),
            cause=why,
            sent=Sent.MAYBE,
        )


def _conclusion(idempotent: bool) -> str:
    return "it is safe to repeat" if idempotent else "it may have run or not"


def _name(method: Callable[..., object] | str) -> str:
    return method if isinstance(method, str) else method.__name__
