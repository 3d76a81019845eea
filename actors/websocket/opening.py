"""The beginning of a session: find out where the client goes on, and tell it."""

from typing import Final

import attrs

from resprout.actors.websocket.delivery import DeliveryPolicy
from resprout.actors.websocket.resume import Forgotten, From, Position, Reset, resume
from resprout.actors.websocket.resume import Gap as Missing
from resprout.actors.websocket.store import Head, Store
from resprout.actors.websocket.wire import VERSION, FromServer, Gap, Welcome

MAX_BELIEVED: Final = 2**48
"""No stream gets so far. A wrong claim beyond it must not use up the numbers JavaScript can hold."""


@attrs.frozen
class Opened:
    """Deliver everything of *epoch* after *start*, once *frames* are sent.

    *lost*: the store had forgotten messages, and the stream has a new epoch for it.
    """

    epoch: str
    start: int
    frames: tuple[FromServer, ...]
    lost: bool = False


async def open_stream(store: Store, policy: DeliveryPolicy, stream: str, position: Position | None) -> Opened:
    """Open *stream* for a client that claims *position*. Its claim counts as an acknowledgement."""
    head = await store.open(stream)
    match resume(head, position):
        case From(seq=seq):
            if seq > head.floor:
                await store.ack(stream, head.epoch, seq)
            return Opened(head.epoch, seq, (welcome(head, seq, policy),))
        case Missing(first=first, last=last):
            return Opened(head.epoch, last, (welcome(head, first - 1, policy), Gap(first, last)))
        case Reset(seq=seq):
            return Opened(head.epoch, seq, (welcome(head, seq, policy, reset=True),))
        case Forgotten():
            assert position is not None
            fresh = await store.renew_epoch(stream, head.epoch, min(position.seq, MAX_BELIEVED))
            return Opened(
                fresh.epoch, fresh.floor, (welcome(fresh, fresh.floor, policy, reset=True),), lost=True
            )


def welcome(head: Head, seq: int, policy: DeliveryPolicy, *, reset: bool = False) -> Welcome:
    """The first frame of a session that delivers after *seq*."""
    return Welcome(VERSION, head.epoch, seq, reset, policy.window_messages, policy.lease)
