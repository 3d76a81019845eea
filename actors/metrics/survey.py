"""Reads the running tree, the breakers, connections, pools and queues, at the moment of a scrape.

Everything is read at once, without a checkpoint in between, but for what queues keep in their stores: each gets
half a second, so that a scrape ends in time with every store away.
"""

from __future__ import annotations

import math
import platform
import time
from collections import defaultdict
from collections.abc import Awaitable, Sized
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import attrs
import trio

from resprout.actors.connection import Gate, Link
from resprout.actors.connection.states import BackingOff
from resprout.actors.metrics import catalogue as metrics
from resprout.actors.metrics.family import About
from resprout.actors.metrics.labels import OTHER
from resprout.actors.metrics.rules.engine import OPEN
from resprout.actors.monitor.board import HealthBoard
from resprout.runtime.breakers import breakers
from resprout.runtime.life import Life
from resprout.runtime.retry_budget import retry_budgets

if TYPE_CHECKING:
    from resprout.actors.metrics.family import Family
    from resprout.actors.metrics.tallies import Row, Tallies
    from resprout.runtime.cell import Cell
    from resprout.runtime.system import System

STORE_TIMEOUT: Final = 0.5
PASSES: Final = 5  # Rounds of the loop that are timed for its lag.


class CensusFigures(Protocol):
    """How many slots of a pool do what; `Census` of a Postgres pool."""

    @property
    def empty(self) -> int: ...
    @property
    def connecting(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def in_use(self) -> int: ...


@runtime_checkable
class HasGate(Protocol):
    """An offer of another kind over a connection, such as the `KeyRing` of a `JwksConnection`."""

    @property
    def gate(self) -> Gate[Link]: ...


@runtime_checkable
class PoolFigures(Protocol):
    """A link that is a pool of connections."""

    line: Sized

    def census(self) -> CensusFigures: ...


@runtime_checkable
class HasCertificate(Protocol):
    """A link that knows when its peer's certificate expires."""

    def tls_expiry(self) -> float | None: ...


class Books(Protocol):
    """The counts of a queue; see `resprout.actors.websocket.law.Counts`."""

    @property
    def accepted(self) -> int: ...
    @property
    def acked(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def dead(self) -> int: ...
    @property
    def expired(self) -> int: ...
    @property
    def redriven(self) -> int: ...
    @property
    def settled_and_open(self) -> int: ...


@runtime_checkable
class QueueFigures(Protocol):
    """What a queue offers; `Hub` of a `MessageQueue`."""

    held: int

    @property
    def sessions(self) -> int: ...
    def counts(self, stream: str | None = None) -> Awaitable[Books]: ...


@attrs.define
class Survey:
    """What was found: *values*, and the *subjects*, which have zeros for all that never happened to them.

    Subjects stay: a counter that vanished while its actor restarts would come back as a new one.
    """

    tallies: Tallies
    values: defaultdict[Row, float] = attrs.field(factory=lambda: defaultdict(float))
    subjects: defaultdict[About, set[str]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.subjects = self.tallies.subjects

    def set(self, family: Family, *labels: str, to: float) -> None:
        """This is the value."""
        self.values[family, labels] = float(to)

    def add(self, family: Family, *labels: str, of: float) -> None:
        """Places that share their labels add up."""
        self.values[family, labels] += of

    def one_of(self, family: Family, *labels: str, now: str) -> None:
        """1 at the state *now*, 0 at the others."""
        for state in next(iter(family.values.values())):
            self.add(family, *labels, state, of=float(state == now))


async def survey(system: System, tallies: Tallies) -> Survey:
    """Read everything. Raises nothing for remotes that are away."""
    began = time.perf_counter()
    lag = await loop_lag()
    found = Survey(tallies)
    queues: list[tuple[str, QueueFigures]] = []
    assert system.root is not None  # `tallies_of` has asked.
    label_and_visit(found, system.root, "", queues)
    read_runtime(found, system, lag)
    read_breakers(found)
    read_retry_budgets(found)
    async with trio.open_nursery() as nursery:
        for label, queue in queues:
            nursery.start_soon(read_queue, found, label, queue)
    found.set(metrics.SCRAPE_TIME, to=time.perf_counter() - began)
    return found


async def loop_lag() -> float:
    """The longest of a few rounds of the event loop, in seconds."""
    longest = 0.0
    for _ in range(PASSES):
        began = time.perf_counter()
        await trio.lowlevel.checkpoint()
        longest = max(longest, time.perf_counter() - began)
    return longest


def label_and_visit(found: Survey, root: Cell, above: str, queues: list[tuple[str, QueueFigures]]) -> None:
    """Read every place in the tree. Not recursive: a tree may be deep, and wide at run time."""
    static = found.tallies.labels.static
    left = [(root, above)]
    while left:
        cell, above = left.pop()
        if cell.path in static:
            label = cell.path
            read_place(found, cell)
        else:
            label = above if above.endswith("/*") else f"{above}/*"
            read_dynamic(found, cell, label)
        if cell.offer is not None:
            read_offer(found, cell.offer, cell.path, label, queues)
        left += [(child, label) for child in cell.children.values()]


def read_place(found: Survey, cell: Cell) -> None:
    """A place that the tree's description names."""
    found.subjects[About.ACTOR].add(cell.path)
    found.set(metrics.RUNNING, cell.path, to=cell.life is Life.RUNNING)
    found.set(metrics.RESTARTS, cell.path, to=cell.restarts)
    found.set(metrics.MAILBOX, cell.path, to=len(cell.mailbox))
    found.set(metrics.MAILBOX_CAPACITY, cell.path, to=cell.mailbox.capacity)


def read_dynamic(found: Survey, cell: Cell, label: str) -> None:
    """One of the many that share *label*."""
    if cell.incarnation is not None and cell.life is Life.RUNNING:
        found.add(metrics.DYNAMIC, label, type(cell.incarnation.actor).__name__, of=1)
    found.add(metrics.MAILBOX, label, of=len(cell.mailbox))
    found.add(metrics.MAILBOX_CAPACITY, label, of=cell.mailbox.capacity)


def read_offer(
    found: Survey, offer: object, path: str, label: str, queues: list[tuple[str, QueueFigures]]
) -> None:
    """What the actor at *path* offers to others."""
    if isinstance(offer, Gate):
        read_connection(found, offer, path)
    elif isinstance(offer, HasGate):
        read_connection(found, offer.gate, path)
    elif isinstance(offer, HealthBoard):
        read_health(found, offer, path)
    elif isinstance(offer, QueueFigures):
        queues.append((label, offer))


def read_connection(found: Survey, gate: Gate[Link], path: str) -> None:
    """A connection, and its pool if it is one."""
    service, state, now = found.tallies.labels.service(gate.service, path), gate.state, trio.current_time()
    found.subjects[About.CONNECTION].add(service)
    found.one_of(metrics.STATE, service, now=state.name)
    if service != OTHER:
        found.set(metrics.SINCE, service, to=wall(state.since))
        wait = max(0.0, state.until - now) if isinstance(state, BackingOff) else 0.0
        found.set(metrics.BACKOFF, service, to=wait)
        expires = gate.held.tls_expiry() if isinstance(gate.held, HasCertificate) else None
        if expires is not None:
            found.set(metrics.TLS_EXPIRY, service, to=expires)
    if isinstance(gate.held, PoolFigures):
        read_pool(found, gate.held, service)


def read_pool(found: Survey, pool: PoolFigures, service: str) -> None:
    """The slots of a pool, and who waits for one."""
    found.subjects[About.POOL].add(service)
    census = pool.census()
    found.add(metrics.POOL, service, "empty", of=census.empty)
    found.add(metrics.POOL, service, "connecting", of=census.connecting)
    found.add(metrics.POOL, service, "idle", of=census.idle)
    found.add(metrics.POOL, service, "in_use", of=census.in_use)
    found.add(metrics.WAITERS, service, of=len(pool.line))


def read_health(found: Survey, board: HealthBoard, path: str) -> None:
    """What the monitor knows."""
    for name, verdict in board.readiness().services.items():
        service = found.tallies.labels.service(name, path)
        found.subjects[About.HEALTH].add(service)
        found.set(metrics.HEALTHY, service, to=verdict.ok)
        found.set(metrics.REQUIRED, service, to=verdict.required)
        checked_at = board.health[name].checked_at
        if checked_at > -math.inf:
            found.set(metrics.CHECKED, service, to=wall(checked_at))
    found.set(metrics.PAUSED, to=board.paused_for)


def read_runtime(found: Survey, system: System, lag: float) -> None:
    """The process and its loop."""
    found.set(metrics.INFO, _version("resprout"), platform.python_version(), _version("trio"), to=1)
    found.set(metrics.LOOP_LAG, to=lag)
    found.set(metrics.TASKS, to=trio.lowlevel.current_statistics().tasks_living)
    found.set(metrics.DEAD_LETTERS, to=system.dead_letter_count)


def read_breakers(found: Survey) -> None:
    """All circuit breakers of this trio run."""
    for breaker in breakers():
        service = found.tallies.labels.service(breaker.service, breaker.actor)
        state, stats = breaker.state, breaker.stats
        found.subjects[About.BREAKER].add(service)
        found.one_of(metrics.BREAKER_STATE, service, now=state.name)
        for outcome, count in (
            ("success", stats.succeeded),
            ("failure", stats.failed),
            ("ignored", stats.ignored),
            ("cancelled", stats.cancelled),
        ):
            found.add(metrics.BREAKER_CALLS, service, outcome, of=count)
        found.add(metrics.BREAKER_SLOW, service, of=stats.slow)
        found.add(metrics.BREAKER_REJECTED, service, of=stats.rejected)
        found.add(metrics.BREAKER_LATE, service, of=stats.late)
        found.add(metrics.BREAKER_WOULD_OPEN, service, of=stats.would_open)
        if state.name in OPEN and service != OTHER:  # What was counted is of earlier openings.
            so_far = found.tallies.counts.get((metrics.BREAKER_OPEN, (service,)), 0.0)
            found.set(metrics.BREAKER_OPEN, service, to=so_far + trio.current_time() - state.since)


def read_retry_budgets(found: Survey) -> None:
    """All retry budgets of this trio run."""
    for budget in retry_budgets():
        service = found.tallies.labels.service(budget.service, budget.actor)
        found.subjects[About.RETRIES].add(service)
        found.add(metrics.RETRIES, service, of=budget.granted)
        found.add(metrics.RETRIES_EXHAUSTED, service, of=budget.exhausted)


async def read_queue(found: Survey, label: str, queue: QueueFigures) -> None:
    """The books of a queue, if its store tells them in time."""
    found.subjects[About.QUEUE].add(label)
    found.add(metrics.SESSIONS, label, of=queue.sessions)
    found.add(metrics.HELD, label, of=queue.held)
    books: Books | None = None
    with trio.move_on_after(STORE_TIMEOUT):
        try:
            books = await queue.counts()
        except Exception:  # noqa: BLE001 - a store that is away, or broken, is what `queue_readable` is for.
            await trio.lowlevel.checkpoint()
    found.set(metrics.QUEUE_UP, label, to=books is not None)
    if books is None:
        return
    for family, count in (
        (metrics.ACCEPTED, books.accepted),
        (metrics.ACKED, books.acked),
        (metrics.EXPIRED, books.expired),
        (metrics.REDRIVEN, books.redriven),
        (metrics.PENDING, books.pending),
        (metrics.IN_FLIGHT, books.in_flight),
        (metrics.DEAD, books.dead),
        (metrics.MISSING, books.accepted - books.settled_and_open),
    ):
        found.add(family, label, of=count)


def wall(moment: float) -> float:
    """A moment on the trio clock as seconds since 1970."""
    return time.time() - (trio.current_time() - moment)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
