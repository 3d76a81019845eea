"""What a client wants when no answer comes, and the rules of what may be sent again. Pure."""

import enum

import attrs
from mcp_types import Tool

from resprout.actors.mcp.errors import NotAnswered
from resprout.runtime.backoff import Backoff, ceiling
from resprout.runtime.errors import Sent


class Replay(enum.Enum):
    """Whether a tool may be called again when its answer was lost."""

    ANNOTATED = "annotated"
    """If the server says that the tool is read-only or idempotent. Only as good as the server's word."""

    ALWAYS = "always"
    """The caller knows that to repeat it does no harm."""

    NEVER = "never"
    """The caller does not trust the server's word."""


@attrs.frozen
class ReplayPolicy:
    """How often a request without an answer is sent again, within its deadline.

    Attributes:
        attempts: How many times more, so that a request that kills its server does so but a few times.
        pause: Waits between attempts over a session that lives; waiting for a new session is apart.
    """

    attempts: int = 3
    pause: Backoff = Backoff(floor=0.02, base=0.05, cap=1.0)


def is_safe(tool: Tool | None, replay: Replay) -> bool:
    """Whether calling *tool* twice does no more than calling it once; None is a tool the server did not list."""
    match replay:
        case Replay.ALWAYS:
            return True
        case Replay.NEVER:
            return False
        case Replay.ANNOTATED:
            hints = tool.annotations if tool is not None else None
            return hints is not None and (hints.read_only_hint is True or hints.idempotent_hint is True)


def may_repeat(unanswered: NotAnswered, *, safe: bool) -> bool:
    """Whether a request may be sent again: the caller has time, and it never left or is safe."""
    return not unanswered.timed_out and (safe or unanswered.sent is Sent.NO)


def pause_before(unanswered: NotAnswered, attempt: int, policy: ReplayPolicy) -> float | None:
    """Seconds to wait before the *attempt*-th repetition, counted from 1; None if there were enough.

    >>> from resprout.actors.mcp.errors import NotAnswered
    >>> why = NotAnswered(ConnectionError("reset"), sent=Sent.NO)
    >>> [pause_before(why, attempt, ReplayPolicy()) for attempt in (1, 2, 3, 4)]
    [0.05, 0.1, 0.2, None]
    """
    if attempt > policy.attempts:
        return None
    return max(unanswered.retry_after or 0.0, ceiling(policy.pause, attempt))
