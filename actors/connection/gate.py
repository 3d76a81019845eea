"""The gate: what clients of a connection hold. It has the live link, or says when to come back.

All changes of state happen here, in plain functions without a checkpoint, so that a caller who sees the link
die and the keeper that watches it can never disagree about the state.

The hot path is one attribute: `Gate.live` is the link while it serves and None otherwise. Read it directly
where a function call is too dear, and call `Gate.link` only when it is None.
"""

import math
import random
from collections.abc import Callable
from typing import Generic

import attrs
import trio

import resprout.actors.connection.states as states
import resprout.runtime.errors as errors
from resprout.actors.connection.base_link import BaseLink
from resprout.actors.connection.events import (
    ConnectionChanged,
    ConnectionEvent,
    LinkLost,
    ProbeMissed,
)
from resprout.actors.connection.fuse import Fuse
from resprout.actors.connection.link import Drainable, L
from resprout.actors.connection.policy import KeeperPolicy
from resprout.actors.connection.repeats import Repeats
from resprout.actors.connection.states import (
    BackingOff,
    Connecting,
    ConnectionState,
    Degraded,
    Draining,
    Ready,
    Stopped,
)
from resprout.runtime.breaker_rules import Closed
from resprout.runtime.classify import is_programming_error
from resprout.runtime.events import Event
from resprout.runtime.retry_budget import retry_budgets
from resprout.runtime.snapshot import Described
from resprout.runtime.telling import sentence


class Gate(Generic[L]):
    """The present state of one connection and the link, if there is one.

    Attributes:
        service: The name used in errors and events.
        state: A frozen value to match on; see `resprout.actors.connection.states`.
        live: The link while it serves and the circuit breaker lets calls pass, else None. Read-only for clients.
        fuse: The circuit breaker of this connection.
        retries: The budget of calls that are made again, shared by all callers of *service*.
        rotation: Why the live link is to be replaced; None if it is not.
        last_error: Why the last attempt failed or the last link died.
    """

    def __init__(
        self,
        service: str,
        *,
        emit: Callable[[Event], None],
        actor: str,
        random: random.Random,
        policy: KeeperPolicy,
    ) -> None:
        self.service, self.policy = service, policy
        self.live: L | None = None
        self.last_error: Exception | None = None
        self.state: ConnectionState = states.start(trio.current_time(), policy)
        self.fuse = Fuse(
            service, policy.breaker, random=random, emit=emit, actor=actor, changed=self._fuse_changed
        )
        self.retries = retry_budgets().shared(service, emit=emit, actor=actor)
        self.rotation: str | None = None
        self._link: L | None = None
        self._emit, self._actor, self._random = emit, actor, random
        self._attempt = trio.CancelScope()
        self._unproven = self.fuse.wants_successes
        self._moved = trio.Event()
        self._waiting = 0
        self._nudged_at = -math.inf
        self._up_since = 0.0
        self._down_since: float | None = None
        self._attempts = 0
        self._repeats = Repeats()

    # What clients use.

    def link(self) -> L:
        """Return the live link.

        Raises:
            Unavailable: There is none now; `retry_after` says when to come back.
            CircuitOpen: There is one, but calls over it fail; likewise.
            Draining: The connection is being stopped on request.
        """
        link = self.live
        if link is None:
            if self._link is not None:
                self.fuse.refuse()
            self._want()
            raise self.refusal()
        return link

    async def wait_link(self, deadline: float) -> L:
        """Return the live link as soon as there is one, at latest at the moment *deadline* on the trio clock.

        Raises:
            Unavailable: The deadline passed first, too many others wait, or this connection has stopped.
            CircuitOpen: The deadline passed first, and the circuit breaker is open.
            Draining: The connection is being stopped on request.
        """
        await trio.lowlevel.checkpoint()
        if self.live is None and self._waiting >= self.policy.max_waiters:
            raise self.refusal(f"{self._waiting} callers wait already")
        self._waiting += 1
        try:
            with trio.move_on_at(deadline):
                while self.live is None and not isinstance(self.state, Draining | Stopped):
                    self._want()
                    await self._moved.wait()
        finally:
            self._waiting -= 1
        return self.link()

    def succeeded(self) -> None:
        """A real reply came: forget earlier failures. Costs one test of an attribute, so call it freely."""
        if self._unproven:
            self.fuse.succeeded()
            self._move(states.proved(self.state), "a real reply came")
            self._see_what_is_unproven()

    def failed(self, error: BaseException) -> None:
        """A call over the live link failed, and the link is none the worse: it timed out, or the server is full.

        Counts in the circuit breaker, as its `judge` says; a call that was cancelled is not to be reported.
        """
        self.fuse.failed(error)
        self._see_what_is_unproven()

    def lost(self, link: L, why: Exception) -> None:
        """*link* is dead: refuse new calls at once and reconnect. Ignored if *link* is not the live one."""
        if link is not self._link:
            return
        now = trio.current_time()
        self._link = self.live = self.rotation = None
        self.last_error, self._down_since = why, now
        if isinstance(link, BaseLink):
            link.lose(why)
        up_for = now - self._up_since
        self._move(states.link_lost(self.state, now, self.policy, self._random), sentence(why))
        self._report(LinkLost(actor=self._actor, service=self.service, error=why, up_for=up_for))

    def impaired(self, link: L, why: str) -> None:
        """*link* works only in part; calls still pass. Two clean probes in a row end it."""
        if link is self._link:
            self._move(states.impaired(self.state, trio.current_time(), self.policy, why), why)

    def nudge(self) -> None:
        """Try again now rather than later; at most once a second takes effect, and only while backing off."""
        now = trio.current_time()
        sooner = states.nudged(self.state, now, self.policy, self._nudged_at)
        if isinstance(sooner, BackingOff) and sooner != self.state:
            self._nudged_at = sooner.until
            self._move(sooner, "nudged")

    def reconnect(self, why: str) -> None:
        """Drop the link, if there is one, and make a new one; else the same as `nudge`."""
        if self._link is None:
            self.nudge()
        else:
            self.lost(self._link, errors.Unavailable(self.service, f"asked to reconnect: {why}"))

    def rotate(self, why: str) -> None:
        """Make a new link, with what credentials and addresses there are now, and let it take over; no call fails.

        The old one serves until then, and after it has 60 s for calls in flight. Tried until it works. Without a
        link the same as `nudge`: each attempt asks for credentials anyway.
        """
        if self._link is None:
            self.nudge()
        else:
            self.rotation = why
            self._wake()

    def drain(self) -> None:
        """Take no new work; the keeper stops when calls in flight are done or `drain_timeout` is over."""
        self._link = self.live = None
        self._attempt.cancel()
        self._move(states.drain_asked(self.state, trio.current_time(), self.policy), "asked to drain")

    def drained(self) -> None:
        """Nothing is in flight any more: a drain need not wait longer."""
        if isinstance(self.state, Draining):
            self._move(states.stopped(self.state, trio.current_time()), "drained")

    def is_stuck(self) -> bool:
        """Whether the connection neither works nor tries: a bug. The health monitor asks this."""
        return states.is_stuck(self.state, trio.current_time(), self.policy)

    def refusal(self, detail: str = "") -> errors.ServiceError:
        """The error for a caller who finds no link: state, when to come back, and the last cause."""
        if self._link is not None and not self.fuse.passes and not detail:
            return self.fuse.refusal()
        wait = states.retry_after(self.state, trio.current_time())
        kind = errors.Draining if isinstance(self.state, Draining) else errors.Unavailable
        message = detail or self.state.name.replace("_", " ")
        if wait is not None:
            message += f"; try again in {wait:.3g} s"
        if self.last_error is not None:
            message += f" (last error: {sentence(self.last_error)})"
        return kind(
            self.service,
            message,
            state=self.state.name,
            retry_after=wait,
            cause=self.last_error,
            attempt=self._attempts,
            since=self._down_since,
        )

    # What the health monitor and the console use.

    def trouble(self) -> str:
        """Why a call now would be refused; empty while calls pass. Asks nobody."""
        return "" if self.live is not None else str(self.refusal())

    async def check(self) -> None:
        """Probe the live link on behalf of somebody outside; a miss is handled as one of the keeper's own.

        Raises:
            Unavailable: No link, or it did not answer the probe in time.
            CircuitOpen: The circuit breaker is open; nothing was probed, the keeper does that.
            Draining: Stopping on request.
        """
        link = self.live
        if link is None:
            raise self.refusal()
        try:
            with trio.fail_after(self.policy.probe_timeout):
                await link.probe()
        except Exception as error:
            if is_programming_error(error):
                raise
            self.probe_missed(link, error)
            raise errors.Unavailable(
                self.service, f"the probe failed: {error!r}", state=self.state.name, cause=error
            ) from error
        self.probe_answered(link)

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """Facts for the tree's snapshot: state, when the next attempt is due, what went wrong last.

        A live link that has a `describe` of its own adds to them.
        """
        facts: dict[str, str | int | float | bool | None] = {
            "service": self.service,
            "state": self.state.name,
        }
        match self.state:
            case BackingOff(attempt=attempt, until=until):
                facts |= {"attempt": attempt, "retry_in": round(max(0.0, until - trio.current_time()), 3)}
            case Degraded(why=why):
                facts["why"] = why
            case Connecting(failures=failures):
                facts["attempt"] = failures + 1
            case _:
                pass
        if self._link is None and self.last_error is not None:
            facts["last_error"] = sentence(self.last_error)
        if not isinstance(self.fuse.breaker.state, Closed):
            facts["breaker"] = self.fuse.breaker.state.name
        if isinstance(self._link, Described):
            facts |= self._link.describe()
        return facts

    def probe_answered(self, link: L) -> None:
        """A probe of *link* came back right."""
        if link is self._link:
            now = trio.current_time()
            self._move(states.probe_answered(self.state, now, self.policy, self._random), "probes are clean")

    def probe_missed(self, link: L, error: Exception) -> None:
        """A probe of *link* failed."""
        if link is not self._link:
            return
        self._report(ProbeMissed(actor=self._actor, service=self.service, error=error))
        why = f"probe missed: {sentence(error)}"
        after = states.probe_missed(self.state, trio.current_time(), self.policy, self._random, why)
        if isinstance(after, BackingOff):
            self.lost(link, error)
        else:
            self._move(after, why)

    @property
    def drains(self) -> bool:
        """Whether there is a live link that knows when its calls in flight are done."""
        return isinstance(self._link, Drainable)

    @property
    def held(self) -> L | None:
        """The link, if there is one, whether or not the circuit breaker lets calls pass; to look at, not to use."""
        return self._link

    async def wait_stopped(self) -> None:
        """Wait until the connection has stopped, as it does after `drain`."""
        await trio.lowlevel.checkpoint()
        while not isinstance(self.state, Stopped):
            await self._moved.wait()

    async def wait_ending(self) -> errors.ServiceError:
        """Wait until it takes no new work, for good; returns what a caller is told then."""
        while not isinstance(self.state, Draining | Stopped):
            await self._moved.wait()
        return self.refusal()

    # How the state changes.

    def _want(self) -> None:
        """A caller asks for the link, and there is none."""
        now, before = trio.current_time(), self.state
        if isinstance(before, BackingOff) and not before.wanted:
            down_since = now if self._down_since is None else self._down_since
            after = states.wanted(before, now, self.policy, self._nudged_at, down_since, self._random)
            if isinstance(after, BackingOff) and after.until < before.until:
                self._nudged_at = after.until
            self._move(after, "a caller asks")

    def _move(self, after: ConnectionState, why: str) -> None:
        before, self.state = self.state, after
        if after == before:
            return
        self._see_what_is_unproven()
        self._wake()
        if type(after) is not type(before):
            self._report(
                ConnectionChanged(
                    actor=self._actor,
                    service=self.service,
                    old=before,
                    new=after,
                    why=why,
                )
            )

    def _report(self, event: ConnectionEvent) -> None:
        repeats = self._repeats.count(event.sort(), trio.current_time())
        self._emit(attrs.evolve(event, repeats=repeats))

    def _see_what_is_unproven(self) -> None:
        counts = isinstance(self.state, Ready | Degraded) and self.state.failures > 0
        self._unproven = counts or self.fuse.wants_successes

    def _fuse_changed(self) -> None:
        self.live = self._link if self.fuse.passes else None
        self._see_what_is_unproven()
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, trio.Event()
        moved.set()
