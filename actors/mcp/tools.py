"""What may be sent again: rules over what a server says of its tools. Pure."""

import enum
import random

import attrs
from mcp_types import Tool

from resprout.actors.mcp.errors import NotAnswered
from resprout.runtime.backoff import Backoff, delay
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
        attempts: How many times more at most, so that a request that kills its server does so but a few times.
        pause: Waits between attempts over a session that lives; a new session needs none.
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
    """Whether a request may be sent again: it never left, or it is safe and the caller still has time."""
    return not unanswered.timed_out and (safe or unanswered.sent is Sent.NO)


def pause_before(
    unanswered: NotAnswered, attempt: int, policy: ReplayPolicy, rng: random.Random
) -> float | None:
    """Seconds to wait before the *attempt*-th repetition, counted from 1; None if there were enough."""
    if attempt > policy.attempts:
        return None
    return max(unanswered.retry_after or 0.0, delay(policy.pause, attempt, rng))
