"""The client's half of the rules."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.websocket.receiver import Delivery, Lost, Receiver, Restarted
from resprout.actors.websocket.resume import Forgotten, From, Gap, Position, Reset, resume
from resprout.actors.websocket.store import Head
from resprout.actors.websocket.wire import BadFrame, Message, Welcome
from resprout.actors.websocket.wire import Gap as GapFrame


def welcome(seq: int = 0, epoch: str = "e1", *, reset: bool = False) -> Welcome:
    return Welcome(1, epoch, seq, reset, 100, 30.0)


def message(seq: int, id: str | None = None) -> Message:
    return Message(id or f"id{seq}", seq, msgspec.Raw(b"%d" % seq))


def taken(receiver: Receiver) -> list[object]:
    items: list[object] = []
    while (item := receiver.take()) is not None:
        items.append(item.data if isinstance(item, Delivery) else item)
    return items


def test_what_is_in_hand_is_not_handed_out_again_after_a_reconnect() -> None:
    receiver = Receiver()
    receiver.welcome(welcome())
    for seq in (1, 2, 3):
        receiver.message(message(seq))
    first, second = receiver.take(), receiver.take()
    assert first is not None
    assert second is not None
    receiver.done(first)
    assert receiver.position == Position("e1", 1)
    receiver.welcome(welcome(1))
    assert receiver.acknowledge() is None
    receiver.done(second)
    assert receiver.acknowledge() is None  # This session has not brought it yet.
    receiver.message(message(2))
    receiver.message(message(3))
    assert receiver.acknowledge() == 2
    assert taken(receiver) == [3]


def test_a_frame_that_leaves_one_out_is_refused() -> None:
    receiver = Receiver()
    receiver.welcome(welcome())
    receiver.message(message(1))
    with pytest.raises(BadFrame):
        receiver.message(message(3))
    with pytest.raises(BadFrame):
        receiver.gap(GapFrame(3, 4))
    receiver.gap(GapFrame(2, 4))
    receiver.message(message(5))
    assert taken(receiver) == [1, Lost(2, 4, "e1"), 5]


def test_after_a_rejection_what_follows_is_dropped_until_it_comes_again() -> None:
    receiver = Receiver()
    receiver.welcome(welcome())
    for seq in (1, 2, 3):
        receiver.message(message(seq))
    item = receiver.take()
    assert isinstance(item, Delivery)
    assert receiver.reject(item)
    receiver.message(message(4))
    assert taken(receiver) == []
    for seq in (1, 2, 3, 4):
        receiver.message(message(seq))
    assert taken(receiver) == [1, 2, 3, 4]


def test_another_epoch_starts_anew_and_says_so() -> None:
    receiver = Receiver(Position("e1", 5))
    receiver.welcome(welcome(2, "e2", reset=True))
    receiver.message(message(3))
    assert taken(receiver) == [Restarted(2, "e2"), 3]
    old = Delivery("old", 9, b"1", "e1")
    receiver.done(old)
    assert receiver.position == Position("e2", 2)
    assert not receiver.reject(old)


@given(
    last=st.integers(0, 20),
    waiting=st.integers(0, 20),
    epoch=st.sampled_from(["here", "there"]),
    seq=st.integers(0, 30),
)
def test_a_resumed_client_misses_nothing_that_is_not_named(
    last: int, waiting: int, epoch: str, seq: int
) -> None:
    head = Head(epoch="here", last=last, floor=max(0, last - waiting))
    start = resume(head, Position(epoch, seq))
    match start:
        case From(after):
            assert after == seq
            assert head.floor <= seq <= last
        case Gap(first, to):
            assert first == seq + 1
            assert to == head.floor
        case Reset(after):
            assert epoch == "there"
            assert after == head.floor
        case Forgotten():
            assert seq > last
