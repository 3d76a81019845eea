"""Keeping a connection: connect, probe, watch, back off, connect again, for as long as the keeper runs.

The keeper knows nothing of actors and nothing of any protocol. A driver gives it a way to `Connect` and gets
`Keeper.gate`, through which its clients find the live `Link`:

    keeper = Keeper("redis", connect, emit=context.emit, actor=context.path, random=context.random)
    context.start_soon(keeper.run)
    context.offer(keeper.gate)
    ...
    link = gate.link()                       # or raises Unavailable(state, retry_after, cause)
    link = await gate.wait_link(deadline)    # on_down=WAIT
    gate.succeeded()                         # after a real reply
    gate.lost(link, error)                   # if a caller sees the link die before the keeper does

What a driver promises:

- ``connect(nursery)`` is one attempt: open and handshake. The keeper adds the deadline and the first probe.
  It may start the link's own tasks in *nursery*. They end once the link is lost or closed and do not raise;
  one that does loses the link. If `connect` raises or is cancelled, it has closed what it had opened.
- `Link.probe`, `Link.wait_lost` and `Link.aclose` as their docstrings say. `aclose` is called once or more
  for each link that `connect` returned, also under cancellation, and is given `policy.close_timeout`.

Errors: whatever `connect`, `probe` or `wait_lost` raise is the remote's failure and only changes the state,
except programming errors (`resprout.runtime.classify`): these come out of `run` and crash the actor.
"""

import math
import random
from collections.abc import Awaitable, Callable
from typing import Generic

import trio

from resprout.actors.connection.base_link import BaseLink
from resprout.actors.connection.gate import Gate
from resprout.actors.connection.kept_gate import KeptGate
from resprout.actors.connection.life import Life
from resprout.actors.connection.link import Drainable, L, Link
from resprout.actors.connection.policy import DEFAULT_POLICY, KeeperPolicy
from resprout.actors.connection.states import BackingOff, Connecting, Draining, Stopped
from resprout.runtime.classify import is_programming_error, unwrapped
from resprout.runtime.errors import CircuitOpen
from resprout.runtime.events import Event

__all__ = ["Connect", "Drainable", "Gate", "Keeper", "KeeperPolicy", "Link"]

Connect = Callable[[trio.Nursery], Awaitable[L]]


class Keeper(Generic[L]):
    """Keeps one connection alive through *connect*. Make it while trio runs; call `run` once.

    Args:
        service: Name in errors and events, such as ``redis``.
        connect: One attempt; see the module's docstring.
        emit: Takes the events of `resprout.actors.connection.events`.
        actor: Path of the owner, for the events.
        random: Source of jitter.
        policy: Deadlines and delays.
    """

    def __init__(
        self,
        service: str,
        connect: Connect[L],
        *,
        emit: Callable[[Event], None],
        actor: str,
        random: random.Random,
        policy: KeeperPolicy = DEFAULT_POLICY,
    ) -> None:
        self.gate: KeptGate[L] = KeptGate(service, emit=emit, actor=actor, random=random, policy=policy)
        self._connect, self._policy = connect, policy
        self._present: Life[L] | None = None

    async def run(self) -> None:
        """Keep the connection until cancelled or drained.

        Raises:
            Exception: Only a programming error, in the driver or here.
        """
        failure: Exception | None = None
        try:
            await self._run()
        except BaseExceptionGroup as group:
            failure = _failure_of(group)
        finally:
            self.gate.stopped("the keeper has ended")
        if failure is not None:
            raise failure

    async def _run(self) -> None:
        async with trio.open_nursery() as lives:
            while not isinstance(self.gate.state, Stopped):
                await trio.lowlevel.checkpoint()  # Even a connect without a checkpoint cannot block the loop.
                if isinstance(self.gate.state, Connecting):
                    self._present = Life(lives)
                    lives.start_soon(self._one_life, self._present)
                    while not self._present.over.is_set():  # After a rotation it is another.
                        await self._present.over.wait()
                else:
                    await self._wait_for_retry()
            lives.cancel_scope.cancel()  # A link that another has taken over from has had its time.

    async def _wait_for_retry(self) -> None:
        """Sleep out the backoff; a nudge or a drain cuts it short."""
        while isinstance(self.gate.state, BackingOff):
            with trio.move_on_at(self.gate.state.until):
                await self.gate.changed()
            self.gate.retry_if_due()
        await trio.lowlevel.checkpoint()

    async def _one_life(self, life: Life[L]) -> None:
        """One attempt and, if it works, the whole life of its link."""
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                failure = await self._attempt_and_serve(life, nursery)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            failure = _failure_of(group)
        finally:
            for event in (life.decided, life.over, life.ended):
                event.set()
        if failure is None:
            return
        if is_programming_error(failure):
            raise failure
        if life is self._present:
            self.gate.life_failed(failure)
        else:
            life.failure = failure

    async def _attempt_and_serve(self, life: Life[L], nursery: trio.Nursery) -> Exception | None:
        """Return the error that ended the attempt, or None if it worked or was called off."""
        try:
            link = await self._attempt(life, nursery)
        except Exception as error:  # noqa: BLE001 - whoever calls `_one_life` judges it.
            return error
        if link is not None:
            await self._serve(life, link, nursery)
        return None

    async def _attempt(self, life: Life[L], nursery: trio.Nursery) -> L | None:
        """Connect and probe within one deadline; None if a stop was asked for meanwhile."""
        timeout = self._policy.attempt_timeout
        with life.attempt if life.heir_of is not None else self.gate.attempting() as scope:
            if life.heir_of is not None:
                scope.deadline = trio.current_time() + timeout
            link = await self._connect(nursery)
            try:
                await link.probe()
            except BaseException:
                with trio.move_on_after(self._policy.close_timeout, shield=True):
                    await self._close(link)
                raise
            return link
        if scope.cancelled_caught and trio.current_time() >= scope.deadline:
            raise TimeoutError(f"no connection within {timeout:g} s")
        return None

    def _opens(self, life: Life[L], link: L) -> bool:
        """Let calls pass to *link*; False if it is not wanted any more."""
        if life.heir_of is None:
            return self.gate.open(link)
        former = self._present
        if former is None or not self.gate.replace(life.heir_of, link):
            return False
        former.retired, self._present = True, life
        former.over.set()
        return True

    async def _serve(self, life: Life[L], link: L, nursery: trio.Nursery) -> None:
        """Let calls pass to *link* until it is lost, drained or replaced, then close it."""
        try:
            if self._opens(life, link):
                life.decided.set()
                await self._watch(life, link)
            if life.retired:
                await self._retire(link)
        finally:
            # Still open: a task of the link failed and cancelled its nursery, or the keeper itself ends.
            if self.gate.held is link and nursery.cancel_scope.cancel_called:
                self.gate.lost(link, ConnectionError("a task of the link failed"))
            elif self.gate.held is link:
                self.gate.stopped("the keeper was stopped")
            with trio.move_on_after(self._policy.close_timeout, shield=True):
                await self._close(link)

    async def _watch(self, life: Life[L], link: L) -> None:
        async with trio.open_nursery() as watchers:
            watchers.start_soon(self._watch_for_loss, link)
            watchers.start_soon(self._keep_probing, link)
            watchers.start_soon(self._keep_trying_the_breaker, link)
            watchers.start_soon(self._replace_when_asked, life, link)
            while self.gate.held is link:
                await self.gate.changed()
            if isinstance(self.gate.state, Draining):
                await self._drain(link, self.gate.state.until)
            watchers.cancel_scope.cancel()

    async def _replace_when_asked(self, life: Life[L], link: L) -> None:
        """Make another link while this one serves, until one works; it takes over by itself."""
        failures = 0
        while True:
            while self.gate.rotation is None:
                await self.gate.changed()
            if life.former is not None:
                await life.former.ended.wait()  # At most one link drains at a time.
                life.former = None
            heir = Life(life.nursery, heir_of=link, former=life)
            life.nursery.start_soon(self._one_life, heir)
            try:
                await heir.decided.wait()
            finally:
                if self._present is not heir:
                    heir.attempt.cancel()  # The old link was lost: from now on, one attempt at a time again.
            failures += 1
            if heir.failure is not None:
                await trio.sleep(self.gate.rotation_failed(heir.failure, failures))

    async def _retire(self, link: L) -> None:
        """Give calls in flight their time."""
        with trio.move_on_after(self._policy.rotation_drain):
            async with trio.open_nursery() as waiting:
                waiting.start_soon(_end_after, link.wait_lost, waiting.cancel_scope)
                if isinstance(link, Drainable):
                    waiting.start_soon(_end_after, link.wait_idle, waiting.cancel_scope)

    async def _watch_for_loss(self, link: L) -> None:
        try:
            why = await link.wait_lost()
        except Exception as error:  # noqa: BLE001 - judged at once.
            why = _remote(error)
        self.gate.lost(link, why)
        self.gate.drained()  # Nothing can be in flight on a dead link.

    async def _keep_probing(self, link: L) -> None:
        while True:
            while (at := self.gate.next_probe()) > trio.current_time():
                with trio.move_on_at(at):
                    await self.gate.changed()
            await self._probe(link)

    async def _keep_trying_the_breaker(self, link: L) -> None:
        """Look at the link as soon as the breaker opens, and give it a trial when its time has come."""
        fuse = self.gate.fuse
        while True:
            while fuse.next_trial() == math.inf:
                await self.gate.changed()
            await self._probe(link)
            while trio.current_time() < (at := fuse.next_trial()) < math.inf:
                with trio.move_on_at(at):
                    await self.gate.changed()
            if not fuse.passes:
                await self._try_the_breaker(link)

    async def _try_the_breaker(self, link: L) -> None:
        ask = link.probe
        if isinstance(link, BaseLink):
            ask = link.prove  # A probe that finds the link taken asks nothing, so it proves nothing.
            if link.is_taken:
                await link.wait_idle()  # Calls under way have deadlines, and new ones are refused.
        try:
            with self.gate.fuse.breaker.admit():
                missed = await self._probe(link, ask)
                if missed is not None:
                    raise missed
        except CircuitOpen:
            await trio.lowlevel.checkpoint()  # An operator has opened it again.
        except Exception as error:
            if is_programming_error(error):
                raise

    async def _probe(self, link: L, ask: Callable[[], Awaitable[None]] | None = None) -> Exception | None:
        """Probe *link* by *ask*, and tell the gate; returns why it failed."""
        began = trio.current_time()
        asks = ask is not None or not (isinstance(link, BaseLink) and link.is_taken)
        missed = await self._ask(ask or link.probe)
        if asks or missed is not None:
            self.gate.fuse.probed(well=missed is None, took=trio.current_time() - began)
        if missed is None:
            self.gate.probe_answered(link)
        else:
            self.gate.probe_missed(link, missed)
        return missed

    async def _ask(self, probe: Callable[[], Awaitable[None]]) -> Exception | None:
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(self._policy.probe_timeout):
            try:
                await probe()
            except Exception as error:  # noqa: BLE001 - judged at once.
                return _remote(error)
            return None
        return TimeoutError(f"no answer to the probe within {self._policy.probe_timeout:g} s")

    async def _drain(self, link: L, until: float) -> None:
        """Wait until nothing is in flight, the link is lost, or time is up."""
        async with trio.open_nursery() as waiting:
            if isinstance(link, Drainable):
                waiting.start_soon(self._tell_when_idle, link)
            with trio.move_on_at(until):
                while isinstance(self.gate.state, Draining):
                    await self.gate.changed()
            waiting.cancel_scope.cancel()
        self.gate.drained()

    async def _tell_when_idle(self, link: Drainable) -> None:
        await link.wait_idle()
        self.gate.drained()

    async def _close(self, link: L) -> None:
        if isinstance(link, BaseLink):
            link.lose(ConnectionError("the link was closed"))
        try:
            await link.aclose()
        except Exception as error:  # noqa: BLE001 - judged at once; a dead link may well fail to close.
            _remote(error)


async def _end_after(wait: Callable[[], Awaitable[object]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()


def _remote(error: Exception) -> Exception:
    """Return *error* if it can be the remote's failure; raise it if our code is wrong."""
    if is_programming_error(error):
        raise error
    return error


def _failure_of(group: BaseExceptionGroup[BaseException]) -> Exception:
    """What went wrong in a link's nursery. A cancellation from outside goes on its way."""
    failures, others = group.split(Exception)
    if others is not None and (failures is None or not is_programming_error(failures)):
        raise others from None
    if others is not None or failures is None:
        raise group
    return unwrapped(failures)
