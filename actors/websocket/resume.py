"""Where delivery starts when a client connects: everything after what it has, or an explicit gap."""

from typing import TypeAlias

import attrs

from resprout.actors.websocket.store import Head


@attrs.frozen
class Position:
    """What a client says it has: everything of *epoch* up to *seq*. Keep it to resume after a restart."""

    epoch: str
    seq: int


@attrs.frozen
class From:
    """Deliver everything after *seq*; the client has all before it."""

    seq: int


@attrs.frozen
class Gap:
    """Messages *first* to *last* are gone: settled long ago, dead, or expired. Deliver everything after *last*."""

    first: int
    last: int


@attrs.frozen
class Reset:
    """The client's numbers mean nothing here: the epoch is another. Deliver what waits, after *seq*."""

    seq: int


@attrs.frozen
class Forgotten:
    """The client has messages the store does not know: it lost some. Start a new epoch, then deliver."""


Start: TypeAlias = From | Gap | Reset | Forgotten


def resume(head: Head, position: Position | None) -> Start:
    """Decide how to go on with a client that claims *position* in a stream that stands at *head*.

    >>> head = Head(epoch="a1", last=9, floor=4)
    >>> resume(head, None), resume(head, Position("a1", 6)), resume(head, Position("a1", 2))
    (From(seq=4), From(seq=6), Gap(first=3, last=4))
    >>> resume(head, Position("b2", 6)), resume(head, Position("a1", 10))
    (Reset(seq=4), Forgotten())
    """
    if position is None:
        return From(head.floor)
    if position.epoch != head.epoch:
        return Reset(head.floor)
    if position.seq > head.last:
        return Forgotten()
    if position.seq < head.floor:
        return Gap(position.seq + 1, head.floor)
    return From(position.seq)
