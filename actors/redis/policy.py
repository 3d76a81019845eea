"""What a client wants when things go wrong, and the rule of what may be repeated."""

import enum
import math

import attrs

from resprout.actors.connection.on_down import FAIL_FAST, OnDown
from resprout.runtime.errors import Sent


def _is_a_deadline(_policy: object, _field: object, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"timeout must be more than 0 s and finite, not {value!r}")


@attrs.frozen
class CallPolicy:
    """How the calls of one client behave.

    Attributes:
        timeout: Seconds a call may take in all.
        on_down: What to do while there is no connection.
        idempotent: Its user says that running a command twice does no harm.
    """

    timeout: float = attrs.field(validator=_is_a_deadline)
    on_down: OnDown = FAIL_FAST
    idempotent: bool = False


class Verdict(enum.Enum):
    """What to do with a command that got no reply."""

    AGAIN = "again"
    TOO_LATE = "too late"
    UNKNOWN = "unknown"


def judge(sent: Sent, *, repeatable: bool, expired: bool) -> Verdict:
    """The rule of replay: never run a command twice unless that is declared harmless.

    Args:
        sent: Whether the server can have the command.
        repeatable: Running it twice does no harm.
        expired: The caller's time is over.

    >>> judge(Sent.YES, repeatable=False, expired=False)
    <Verdict.UNKNOWN: 'unknown'>
    """
    if sent is not Sent.NO and not repeatable:
        return Verdict.UNKNOWN
    return Verdict.TOO_LATE if expired else Verdict.AGAIN
