"""The gate as its keeper sees it: the changes of state that only the keeper may make."""

import math

import trio

import resprout.actors.connection.states as states
from resprout.actors.connection.events import AttemptFailed, LinkReplaced, Recovered, RotationFailed
from resprout.actors.connection.failure_kind import kind_of
from resprout.actors.connection.gate import Gate
from resprout.actors.connection.link import L
from resprout.actors.connection.states import BackingOff, Connecting, Degraded, Ready
from resprout.runtime.backoff import delay
from resprout.runtime.telling import sentence


class KeptGate(Gate[L]):
    """A `Gate` with what its keeper needs besides."""

    # Said again for pyright, which else takes the type of what is assigned here.
    last_error: Exception | None

    async def changed(self) -> None:
        """Wait for the next change of state."""
        await self._moved.wait()

    def retry_if_due(self) -> None:
        """Begin an attempt if the wait is over."""
        self._move(states.retry_due(self.state, trio.current_time(), self.policy), "the wait is over")

    def attempting(self) -> trio.CancelScope:
        """The scope of the attempt that begins now: ends at its deadline, or when a drain calls it off."""
        if isinstance(self.state, Connecting):
            self._move(states.start(trio.current_time(), self.policy, self.state.failures), "attempt begins")
            self._attempt = trio.CancelScope(deadline=self.state.until)
        return self._attempt

    def life_failed(self, error: Exception) -> None:
        """An attempt failed with *error*, or a link's own task raised it and so lost the link."""
        if isinstance(self.state, Connecting):
            self._attempt_failed(error, began=self.state.since)
        elif isinstance(self.state, BackingOff):
            self.last_error = error  # The loss was noticed before its cause was known.

    def open(self, link: L) -> bool:
        """Let calls pass to *link*; False if a stop was asked for meanwhile and *link* is not wanted."""
        if not isinstance(self.state, Connecting):
            return False
        now = trio.current_time()
        self.fuse.probed(well=True, took=now - self.state.since)
        self._link, self._up_since = link, now
        self.live = link if self.fuse.passes else None
        down_since, attempt = self._down_since, self._attempts + 1
        self._down_since, self._attempts = None, 0
        self._move(states.attempt_succeeded(self.state, now, self.policy, self._random), "connected")
        if down_since is not None:
            self._report(
                Recovered(actor=self._actor, service=self.service, duration=now - down_since, attempt=attempt)
            )
        return True

    def replace(self, old: L, new: L) -> bool:
        """Let *new* take over from *old*; False if *old* is not the live one any more."""
        if old is not self._link:
            return False
        now, why = trio.current_time(), self.rotation or ""
        self.rotation, self._up_since = None, now
        self._link = new
        self.live = new if self.fuse.passes else None
        self._move(states.replaced(self.state, now, self.policy, self._random), "replaced")
        self._report(LinkReplaced(actor=self._actor, service=self.service, why=why))
        return True

    def rotation_failed(self, error: Exception, failures: int) -> float:
        """No link could be made to take over, *failures* times in a row; returns when to try again, in seconds."""
        kind = kind_of(error)
        pause = delay(self.policy.backoff, failures, self._random)
        self._report(
            RotationFailed(
                actor=self._actor,
                service=self.service,
                attempt=failures,
                error=error,
                kind=kind,
                retry_after=pause,
            )
        )
        return pause

    def next_probe(self) -> float:
        """The moment of the next probe; infinite while there is no link."""
        return self.state.next_probe if isinstance(self.state, Ready | Degraded) else math.inf

    def stopped(self, why: str) -> None:
        """The keeper has ended."""
        self._link = self.live = None
        self.fuse.close()
        self._move(states.stopped(self.state, trio.current_time()), why)

    def _attempt_failed(self, error: Exception, began: float) -> None:
        now = trio.current_time()
        self.last_error = error
        self._attempts += 1
        self.fuse.probed(well=False, took=now - began)
        if self._down_since is None:
            self._down_since = began
        after = states.attempt_failed(self.state, now, self.policy, self._random)
        self._move(after, sentence(error))
        if isinstance(after, BackingOff):
            kind = kind_of(error)
            self._report(
                AttemptFailed(
                    actor=self._actor,
                    service=self.service,
                    attempt=after.attempt,
                    error=error,
                    kind=kind,
                    retry_after=after.until - now,
                )
            )
