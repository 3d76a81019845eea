"""The client's half of the delivery rules: what to hand on, what to drop, what to acknowledge. No I/O.

The wire brings messages in order, some of them twice. What was handed to the application and not acknowledged
when a connection broke comes again, and is dropped here if the application has it still in hand.
"""

from collections import OrderedDict, deque
from typing import Final, TypeAlias, TypeVar

import attrs
import msgspec

from resprout.actors.websocket.resume import Position
from resprout.actors.websocket.wire import BadFrame, Gap, Message, Welcome

T = TypeVar("T")

MAX_IDS: Final = 10_000
"""How many ids are remembered against duplicates."""


@attrs.frozen
class Delivery:
    """A message. *id* names it for ever, *seq* its place in the stream of this *epoch*, *raw* its JSON text."""

    id: str
    seq: int
    raw: bytes
    epoch: str

    @property
    def data(self) -> object:
        """What was enqueued, as JSON can say it."""
        return msgspec.json.decode(self.raw)

    def decode(self, kind: type[T]) -> T:
        """What was enqueued, checked and converted by msgspec; raises `msgspec.ValidationError`."""
        return msgspec.json.decode(self.raw, type=kind)


@attrs.frozen
class Lost:
    """Messages *first* to *last* will not come: settled before, dead, or expired. Reload what they were about."""

    first: int
    last: int
    epoch: str

    @property
    def seq(self) -> int:
        """Its place in the stream: that of the last message it stands for."""
        return self.last


@attrs.frozen
class Restarted:
    """The server no longer knows what this client had. Messages may be missing or come again: reload."""

    seq: int
    epoch: str


Item: TypeAlias = Delivery | Lost | Restarted


class Receiver:
    """What one client has received.

    Attributes:
        epoch: Of the stream; empty before the first welcome.
        consumed: The application is done with everything up to here.
        duplicates: Messages that came again and were dropped.
    """

    def __init__(self, position: Position | None = None) -> None:
        self.epoch = "" if position is None else position.epoch
        self.consumed = 0 if position is None else position.seq
        self.duplicates = 0
        self._handed = self.consumed  # The application got everything up to here.
        self._next = self.consumed + 1  # The wire must bring this next.
        self._acked = self.consumed  # The server knows of everything up to here.
        self._rejecting = False
        self._items: deque[Item] = deque()
        self._ids: OrderedDict[str, None] = OrderedDict()

    @property
    def position(self) -> Position | None:
        """Where to resume, also in another process; None before the first welcome."""
        return Position(self.epoch, self.consumed) if self.epoch else None

    # From the wire.

    def welcome(self, frame: Welcome) -> None:
        """A session begins; what was not handed on will come again."""
        known = self.epoch == frame.epoch and not frame.reset
        restarted = bool(self.epoch) and not known
        if not known:
            self.epoch = frame.epoch
            self.consumed = self._handed = frame.seq
        self._items.clear()
        self._next, self._acked, self._rejecting = frame.seq + 1, frame.seq, False
        if restarted:
            self._items.append(Restarted(frame.seq, frame.epoch))

    def message(self, frame: Message) -> None:
        """A message came.

        Raises:
            BadFrame: It leaves one out.
        """
        if self._expects(frame.seq, frame.seq):
            self._keep(Delivery(frame.id, frame.seq, bytes(frame.data), self.epoch))

    def gap(self, frame: Gap) -> None:
        """Messages will not come.

        Raises:
            BadFrame: It leaves one out.
        """
        if self._expects(frame.first, frame.last):
            self._keep(Lost(max(frame.first, self._handed + 1), frame.last, self.epoch))

    # To the application.

    def take(self) -> Item | None:
        """The next item for the application, if there is one."""
        while self._items:
            item = self._items.popleft()
            self._handed = max(self._handed, item.seq)
            if not (isinstance(item, Delivery) and item.id in self._ids):
                return item
            self.duplicates += 1
            self.done(item)  # Redriven, or enqueued again: the application has had it.
        return None

    def done(self, item: Item) -> None:
        """The application is done with *item* and everything before it."""
        if item.epoch != self.epoch:
            return
        self.consumed = max(self.consumed, min(item.seq, self._handed))
        if isinstance(item, Delivery):
            self._ids[item.id] = None
            if len(self._ids) > MAX_IDS:
                self._ids.popitem(last=False)

    def reject(self, item: Delivery) -> bool:
        """The application wants *item* and what follows again; True if the server must be told."""
        if item.epoch != self.epoch or not self.consumed < item.seq <= self._handed:
            return False
        came = item.seq < self._next
        self._handed = item.seq - 1
        if came:
            self._items.clear()
            self._next, self._rejecting = item.seq, True
        return came

    # To the server.

    @property
    def unsent(self) -> int:
        """How many messages the server could be told about."""
        return self._tellable - self._acked

    def acknowledge(self) -> int | None:
        """What to acknowledge now, if anything: never more than this session brought."""
        if self._tellable <= self._acked:
            return None
        self._acked = self._tellable
        return self._acked

    @property
    def _tellable(self) -> int:
        return min(self.consumed, self._next - 1)

    def _expects(self, first: int, last: int) -> bool:
        """Whether a frame about *first* to *last* is news."""
        if first > self._next and not self._rejecting:
            raise BadFrame(f"{first} came where {self._next} was due")
        if first > self._next or last < self._next:
            return False
        self._next, self._rejecting = last + 1, False
        return True

    def _keep(self, item: Item) -> None:
        if item.seq > self._handed:
            self._items.append(item)
        else:
            self.duplicates += isinstance(item, Delivery)
