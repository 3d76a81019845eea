"""A store that lives and dies with the process: for tests, demos, and messages nobody would miss.

It outlives a crash of the actors that use it if it is made outside of them and handed in.
"""

import secrets
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import dropwhile, islice

import attrs
import trio

from resprout.actors.websocket.errors import QueueFull, StreamChanged
from resprout.actors.websocket.law import Counts
from resprout.actors.websocket.store import DeadLetter, Failure, Head, NewMessage, Stored, is_expired


@attrs.define
class _Room:
    """Bytes that wait in all streams together."""

    used: int = 0


@attrs.define
class _Stream:
    """One client's messages: *waiting* is in order, and what has left it is only counted."""

    room: _Room
    epoch: str = attrs.field(factory=lambda: secrets.token_hex(8))
    last: int = 0
    size: int = 0
    waiting: deque[Stored] = attrs.field(factory=deque)
    failures: dict[int, tuple[Failure, ...]] = attrs.field(factory=dict)
    dead: dict[int, DeadLetter] = attrs.field(factory=dict)
    books: Counts = attrs.field(factory=Counts)

    def head(self) -> Head:
        floor = self.waiting[0].seq - 1 if self.waiting else self.last
        return Head(epoch=self.epoch, last=self.last, floor=floor)

    def put(self, id: str, data: bytes, expires_at: float | None) -> Stored:
        self.last += 1
        message = Stored(seq=self.last, id=id, data=data, expires_at=expires_at)
        self.waiting.append(message)
        self._grow(message.size)
        return message

    def find(self, seq: int) -> Stored | None:
        return next((message for message in self.waiting if message.seq == seq), None)

    def take_out(self, message: Stored) -> tuple[Failure, ...]:
        self.waiting.remove(message)
        self._grow(-message.size)
        return self.failures.pop(message.seq, ())

    def _grow(self, size: int) -> None:
        self.size += size
        self.room.used += size

    def count(self, **changes: int) -> None:
        grown = {name: getattr(self.books, name) + change for name, change in changes.items()}
        self.books = attrs.evolve(self.books, **grown)


@attrs.define
class MemoryStore:
    """Keeps messages in this process's memory, within bounds.

    Attributes:
        max_stream_bytes: What may wait for one client, in memory.
        max_bytes: What may wait for all clients together.
        max_ids: How many message ids are remembered against duplicates; beyond it the oldest are forgotten.
    """

    max_stream_bytes: int = 1_000_000
    max_bytes: int = 64_000_000
    max_ids: int = 100_000
    name: str = "memory"
    _room: _Room = attrs.field(factory=_Room, init=False)
    _streams: dict[str, _Stream] = attrs.field(factory=dict, init=False)
    _ids: OrderedDict[tuple[str, str], tuple[int, float]] = attrs.field(factory=OrderedDict, init=False)

    async def weaknesses(self) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return ("messages are kept in memory only and lost when the process ends",)

    async def open(self, stream: str) -> Head:
        await trio.lowlevel.checkpoint()
        return self._stream(stream).head()

    async def append(self, stream: str, messages: Sequence[NewMessage]) -> tuple[int, ...]:
        await trio.lowlevel.checkpoint()
        kept = self._stream(stream)
        now = trio.current_time()
        fresh = [message for message in messages if self._known(stream, message.id, now) is None]
        self._check_room(stream, kept, fresh)
        return tuple(self._put_once(stream, kept, message, now) for message in messages)

    async def read(self, stream: str, epoch: str, after: int, *, count: int, size: int) -> tuple[Stored, ...]:
        await trio.lowlevel.checkpoint()
        waiting = self._in_epoch(stream, epoch).waiting
        rest = dropwhile(lambda message: message.seq <= after, waiting)
        return tuple(up_to_size(islice(rest, count), size))

    async def ack(self, stream: str, epoch: str, through: int) -> int:
        await trio.lowlevel.checkpoint()
        kept = self._in_epoch(stream, epoch)
        acked = 0
        while kept.waiting and kept.waiting[0].seq <= through:
            kept.take_out(kept.waiting[0])
            acked += 1
        kept.count(acked=acked)
        return acked

    async def fail(self, stream: str, epoch: str, seq: int, failure: Failure) -> tuple[Failure, ...]:
        await trio.lowlevel.checkpoint()
        kept = self._in_epoch(stream, epoch)
        if kept.find(seq) is None:
            return ()
        history = kept.failures.get(seq, ())
        if history[-1:] != (failure,):  # The same one again is a repeated call.
            history = kept.failures[seq] = (*history, failure)
        return history

    async def bury(self, stream: str, epoch: str, seq: int, reason: str, at: float) -> bool:
        await trio.lowlevel.checkpoint()
        kept = self._in_epoch(stream, epoch)
        message = kept.find(seq)
        if message is None:
            return False
        failures = kept.take_out(message)
        kept.dead[seq] = DeadLetter(
            stream=stream, seq=seq, id=message.id, data=message.data, reason=reason, failures=failures, at=at
        )
        kept.count(dead=1)
        return True

    async def expire(self, now: float) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        touched = []
        for name, kept in self._streams.items():
            late = [message for message in kept.waiting if is_expired(message, now)]
            for message in late:
                kept.take_out(message)
            kept.count(expired=len(late))
            touched += [name] if late else []
        return tuple(touched)

    async def dead_letters(self, stream: str, limit: int = 100) -> tuple[DeadLetter, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(islice(self._stream(stream).dead.values(), limit))

    async def redrive(self, stream: str, ids: Sequence[str] | None = None) -> int:
        await trio.lowlevel.checkpoint()
        kept = self._stream(stream)
        chosen = [letter for _, letter in sorted(kept.dead.items()) if ids is None or letter.id in ids]
        for letter in chosen:
            del kept.dead[letter.seq]
            kept.put(letter.id, letter.data, None)
        kept.count(dead=-len(chosen), redriven=len(chosen))
        return len(chosen)

    async def renew_epoch(self, stream: str, epoch: str, at_least: int) -> Head:
        await trio.lowlevel.checkpoint()
        kept = self._stream(stream)
        if kept.epoch == epoch:
            kept.epoch, kept.last = secrets.token_hex(8), max(kept.last, at_least)
        return kept.head()

    async def counts(self, stream: str | None = None) -> Counts:
        await trio.lowlevel.checkpoint()
        chosen = self._streams.values() if stream is None else [self._stream(stream)]
        return add_up(attrs.evolve(kept.books, pending=len(kept.waiting)) for kept in chosen)

    async def audit(self) -> Counts:
        await trio.lowlevel.checkpoint()
        return add_up(
            attrs.evolve(kept.books, pending=len(kept.waiting), dead=len(kept.dead))
            for kept in self._streams.values()
        )

    def _stream(self, name: str) -> _Stream:
        kept = self._streams.get(name)
        if kept is None:
            kept = self._streams[name] = _Stream(self._room)
        return kept

    def _in_epoch(self, name: str, epoch: str) -> _Stream:
        kept = self._stream(name)
        if kept.epoch != epoch:
            raise StreamChanged(name, epoch)
        return kept

    def _check_room(self, stream: str, kept: _Stream, fresh: Sequence[NewMessage]) -> None:
        new = sum(Stored(seq=0, id=message.id, data=message.data).size for message in fresh)
        if kept.size + new > self.max_stream_bytes:
            raise QueueFull(self.name, stream=stream, limit=self.max_stream_bytes, unit="bytes")
        if self._room.used + new > self.max_bytes:
            raise QueueFull(self.name, stream=None, limit=self.max_bytes, unit="bytes")

    def _put_once(self, stream: str, kept: _Stream, message: NewMessage, now: float) -> int:
        known = self._known(stream, message.id, now)
        if known is not None:
            return known
        stored = kept.put(message.id, message.data, message.expires_at)
        kept.count(accepted=1)
        self._ids[stream, message.id] = (stored.seq, now + message.dedupe)
        while len(self._ids) > self.max_ids:
            self._ids.popitem(last=False)
        return stored.seq

    def _known(self, stream: str, id: str, now: float) -> int | None:
        seq, until = self._ids.get((stream, id), (None, 0.0))
        return seq if now < until else None


def up_to_size(messages: Iterable[Stored], size: int) -> Iterator[Stored]:
    """Messages from the front as long as they fit into *size* bytes; the first one always does."""
    total = 0
    for message in messages:
        total += message.size
        if total > size and total > message.size:
            return
        yield message


def add_up(books: Iterable[Counts]) -> Counts:
    """The sum of several books."""
    rows = [attrs.astuple(each) for each in books]
    names = [field.name for field in attrs.fields(Counts)]
    return Counts(**{name: sum(column) for name, column in zip(names, zip(*rows, strict=True), strict=False)})
