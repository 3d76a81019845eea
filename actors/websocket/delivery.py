"""What happens to the messages of one client session: pure rules over frozen values.

A window holds the messages that were loaded from the store and not yet acknowledged, oldest first. Those in
front are *flying*: sent, on one lease. The rest is *ready* to be sent. Order within a stream outlives retries,
so a message the client could not handle takes everything behind it back with it ("go back N"): the client sees
5, 6, rejects 5, and gets 5, 6 again.

A lease ends when the client, while connected, has acknowledged nothing for its length. Every acknowledgement
renews it: a slow client that works through its messages is not a failed one. Only a lease that ended and a
rejection are counted as failures. A lost connection is not, so being offline burns no attempts.
"""

import math
import random
from collections.abc import Sequence

import attrs

from resprout.actors.websocket.store import Failure, Stored
from resprout.runtime.backoff import Backoff, delay
from resprout.runtime.errors import ResproutError


@attrs.frozen(kw_only=True)
class DeliveryPolicy:
    """How one client is served. Durations in seconds.

    Attributes:
        window_messages: Sent and not acknowledged at most.
        window_bytes: Held in memory for one client at most, unless a single message is larger.
        lease: How long a connected client may acknowledge nothing before the oldest message counts as failed.
        max_failures: Counted failures after which a message is dead.
        backoff: Pause before a rejected message is sent again.
    """

    window_messages: int = 100
    window_bytes: int = 1_000_000
    lease: float = 30.0
    max_failures: int = 20
    backoff: Backoff = Backoff(floor=0.05, base=0.5, cap=60.0)

    def __attrs_post_init__(self) -> None:
        if min(self.window_messages, self.window_bytes, self.max_failures) < 1 or not self.lease > 0:
            raise ValueError(f"limits must be at least 1 and the lease longer than 0 s: {self}")


@attrs.frozen(kw_only=True)
class Window:
    """Unacknowledged messages of one session.

    Attributes:
        acked: The client has everything up to this sequence.
        flying: Sent, oldest first.
        ready: Loaded and not sent, right behind *flying*.
        lease_until: When the oldest flying message counts as failed; infinite while nothing flies.
        not_before: Nothing is sent earlier than this.
        size: Bytes in memory.
        reached: Highest sequence ever sent in this session; a rejection does not take it back.
    """

    acked: int
    flying: tuple[Stored, ...] = ()
    ready: tuple[Stored, ...] = ()
    lease_until: float = math.inf
    not_before: float = -math.inf
    size: int = 0
    reached: int = 0

    @property
    def sent(self) -> int:
        """Sequence of the last message sent, or acknowledged if none flies."""
        return self.flying[-1].seq if self.flying else self.acked

    @property
    def count(self) -> int:
        """Messages in memory."""
        return len(self.flying) + len(self.ready)

    @property
    def loaded(self) -> int:
        """Sequence of the last message in memory; the store is read on from here."""
        return self.ready[-1].seq if self.ready else self.sent


class Overreach(ResproutError):
    """The client acknowledged a message it was never sent: it does not speak the protocol."""


def load(window: Window, messages: Sequence[Stored]) -> Window:
    """Put *messages*, read from the store after `window.loaded`, behind the others."""
    return attrs.evolve(window, ready=(*window.ready, *messages), size=window.size + size_of(messages))


def take(window: Window, now: float, policy: DeliveryPolicy) -> tuple[Window, tuple[Stored, ...]]:
    """Send what may be sent: returns the window with it flying, and the messages to write."""
    room = policy.window_messages - len(window.flying)
    if now < window.not_before or not window.ready or room <= 0:
        return window, ()
    batch = window.ready[:room]
    lease_until = window.lease_until if window.flying else now + policy.lease
    flying = (*window.flying, *batch)
    reached = max(window.reached, batch[-1].seq)
    ready = window.ready[room:]
    return attrs.evolve(window, flying=flying, ready=ready, lease_until=lease_until, reached=reached), batch


def acknowledge(window: Window, seq: int, now: float, policy: DeliveryPolicy) -> Window:
    """The client has everything up to *seq*. An acknowledgement that comes late or twice changes nothing.

    Raises:
        Overreach: If *seq* was never sent.
    """
    if seq > max(window.acked, window.reached):
        raise Overreach(f"acknowledged {seq}, but only {window.reached} was sent")
    if seq <= window.acked:
        return window
    flying, ready = after(window.flying, seq), after(window.ready, seq)
    lease_until = now + policy.lease if flying else math.inf
    gone = window.flying[: len(window.flying) - len(flying)] + window.ready[: len(window.ready) - len(ready)]
    size = window.size - size_of(gone)
    return attrs.evolve(window, acked=seq, flying=flying, ready=ready, lease_until=lease_until, size=size)


def reject(window: Window, seq: int) -> tuple[Window, Stored | None]:
    """The client could not handle *seq*: it and everything behind it will be sent again, once judged.

    Returns:
        The window, which sends nothing until `retry` or `drop`; and the message, None if it was not flying.
    """
    at = next((place for place, message in enumerate(window.flying) if message.seq == seq), None)
    if at is None:
        return window, None
    kept, back = window.flying[:at], window.flying[at:]
    lease_until = window.lease_until if kept else math.inf
    ready = (*back, *window.ready)
    held = attrs.evolve(window, flying=kept, ready=ready, lease_until=lease_until, not_before=math.inf)
    return held, back[0]


def retry(window: Window, not_before: float) -> Window:
    """A judged message may be sent again from *not_before* on."""
    return attrs.evolve(window, not_before=not_before)


def drop(window: Window, seq: int) -> Window:
    """A judged message is dead or expired: pass over it and send on at once."""
    ready = tuple(message for message in window.ready if message.seq != seq)
    size = size_of(window.flying) + size_of(ready)
    return attrs.evolve(window, ready=ready, not_before=-math.inf, size=size)


def overdue(window: Window, now: float) -> Stored | None:
    """The message the client is stuck on, if its lease has ended."""
    return window.flying[0] if window.flying and now >= window.lease_until else None


@attrs.frozen
class Retry:
    """Send again after *delay* seconds."""

    delay: float


@attrs.frozen
class Bury:
    """Give the message up: move it to the dead letters."""

    reason: str


@attrs.frozen
class Gone:
    """The message no longer waits (acknowledged, expired or buried meanwhile): pass over it."""


def judge(
    history: Sequence[Failure], policy: DeliveryPolicy, rng: random.Random, *, permanent: bool = False
) -> Retry | Bury | Gone:
    """What becomes of a message after its latest failure.

    Args:
        history: All its counted failures, the latest last; empty if the store no longer has the message.
        policy: How often to try.
        rng: Source of the jitter.
        permanent: The client says that no retry will help.
    """
    if not history:
        return Gone()
    if permanent:
        return Bury(f"permanent: {history[-1].reason}")
    if len(history) >= policy.max_failures:
        return Bury(f"failed {len(history)} times, last: {history[-1].reason}")
    return Retry(delay(policy.backoff, len(history), rng))


def after(messages: Sequence[Stored], seq: int) -> tuple[Stored, ...]:
    """The messages behind *seq*."""
    return tuple(message for message in messages if message.seq > seq)


def size_of(messages: Sequence[Stored]) -> int:
    """Bytes they take in memory."""
    return sum(message.size for message in messages)
