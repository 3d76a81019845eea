"""The conservation law of the queue: no message appears from nowhere, none disappears.

``accepted = acked + pending + in flight + dead + expired`` holds after every step and every fault. The store
counts what it accepted and settled; what still waits is measured, not derived, so that the law can fail.
"""

import attrs

from resprout.actors.websocket.errors import ConservationBroken


@attrs.frozen(kw_only=True)
class Counts:
    """Messages by what became of them.

    Attributes:
        accepted: Durably stored since the store was created; a message that is redriven is not counted again.
        acked: The client has them and said so.
        pending: Waiting for their client.
        in_flight: Sent to a connected client which has not answered yet.
        dead: Given up on, kept with their history, waiting to be redriven.
        expired: Reached the time to live their producer gave them.
        redriven: How often a dead message was put back; not part of the law.
    """

    accepted: int = 0
    acked: int = 0
    pending: int = 0
    in_flight: int = 0
    dead: int = 0
    expired: int = 0
    redriven: int = 0

    @property
    def settled_and_open(self) -> int:
        """The right side of the law."""
        return self.acked + self.pending + self.in_flight + self.dead + self.expired

    def with_in_flight(self, in_flight: int) -> "Counts":
        """The same messages, *in_flight* of the pending ones being with a client now.

        >>> Counts(accepted=3, pending=3).with_in_flight(2)
        Counts(accepted=3, acked=0, pending=1, in_flight=2, dead=0, expired=0, redriven=0)
        """
        waiting = self.pending + self.in_flight
        flying = min(in_flight, waiting)
        return attrs.evolve(self, pending=waiting - flying, in_flight=flying)


def check_conservation(counts: Counts) -> None:
    """Assert the law.

    >>> check_conservation(Counts(accepted=2, acked=1, dead=1))

    Raises:
        ConservationBroken: If a message was lost or counted twice, or a count is negative.
    """
    broken = counts.accepted != counts.settled_and_open
    if broken or min(attrs.astuple(counts)) < 0:
        raise ConservationBroken(
            f"accepted {counts.accepted}, but acked {counts.acked} + pending {counts.pending} + in flight "
            f"{counts.in_flight} + dead {counts.dead} + expired {counts.expired} = {counts.settled_and_open}"
        )
