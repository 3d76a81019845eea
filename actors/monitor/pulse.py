"""Whether a monitor itself still works: its mailbox is served, and each service gets its turn. Pure."""

from collections.abc import Collection, Mapping
from typing import Final

import attrs

from resprout.actors.monitor.policy import MonitorPolicy

BEAT_EVERY: Final = 10.0
MISSES_UNTIL_HUNG: Final = 3


class MonitorHung(Exception):
    """The monitor stood still. Crashing gives its supervisor the chance to start it anew."""


@attrs.frozen
class Pulse:
    """How many beats there were, and how many looks in a row found something standing still.

    Looks are counted and not seconds: after the whole loop, or the machine, stood still for a minute, everything
    is late at the first look, and nothing is wrong.

    Attributes:
        beats: At the last look.
        missed: Looks in a row, up to the last one, that found no new beat or services whose turn is overdue.
        why: What the last look found; empty if all was well.
    """

    beats: int = 0
    missed: int = 0
    why: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether the monitor hangs."""
        return self.missed >= MISSES_UNTIL_HUNG


def felt(pulse: Pulse, beats: int, late: Collection[str] = ()) -> Pulse:
    """The pulse after a look that found *beats* in all, and services that are *late* for their turn.

    >>> felt(felt(Pulse(beats=7), beats=7), beats=7).missed
    2
    """
    if beats == pulse.beats:
        return Pulse(beats, pulse.missed + 1, "its mailbox is not served")
    if late:
        return Pulse(beats, pulse.missed + 1, f"the turn of {', '.join(late)} does not come")
    return Pulse(beats)


def overdue(
    turns: Mapping[str, float],
    in_check: Collection[str],
    resumed_at: float,
    now: float,
    policy: MonitorPolicy,
) -> list[str]:
    """The services that should have had their turn long ago.

    Args:
        turns: When the last turn of each service began.
        in_check: Those whose check is in work. A check that outlives its deadline is a fault of its owner, shown
            by readiness as one that has not ended; a restart of the monitor would not help.
        resumed_at: When the last pause ended.
        now: The present moment.
        policy: How often turns come.
    """
    limit = now - policy.stale_after
    return [name for name, began in turns.items() if name not in in_check and max(began, resumed_at) < limit]
