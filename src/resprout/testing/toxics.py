"""What a fault proxy does to bytes on their way: frozen toxics, and the pure rule that schedules pieces."""

import enum
from collections.abc import Iterable
from random import Random
from typing import TypeAlias, TypeVar

import attrs

_PIECES_PER_SECOND = 20  # How finely a bandwidth limit cuts what it slows down.


class Direction(enum.Flag):
    """Which bytes a toxic is for."""

    REQUESTS = enum.auto()
    """From the client to the server."""
    REPLIES = enum.auto()
    """From the server to the client."""
    BOTH = REQUESTS | REPLIES


class Ending(enum.Enum):
    """How a connection is cut."""

    RESET = "reset"
    """RST: the peer sees ECONNRESET, data in flight is lost."""
    FIN = "fin"
    """Closed in order: the peer reads what was sent, then end of file."""


@attrs.frozen
class Latency:
    """Every byte comes *seconds* later, give or take up to *jitter*; order is kept, throughput too."""

    seconds: float
    jitter: float = 0.0


@attrs.frozen
class Bandwidth:
    """No more than *bytes_per_second* pass."""

    bytes_per_second: float


@attrs.frozen
class Slicer:
    """Bytes come in pieces of at most *max_bytes*, *pause* seconds apart."""

    max_bytes: int
    pause: float = 0.0


@attrs.frozen
class LimitBytes:
    """Each connection carries this many bytes in the direction, then ends. 0: as soon as it is open."""

    max_bytes: int
    then: Ending = Ending.RESET


@attrs.frozen
class BlackHole:
    """Bytes are taken, acknowledged by the kernel, and vanish. The hardest fault: nothing looks broken.

    A connection that has lost bytes never passes any again: it is reset when the toxic goes.
    """


@attrs.frozen
class Stall:
    """Bytes are not taken: the sender fills its buffers and blocks. Nothing is lost, all comes later."""


Toxic: TypeAlias = Latency | Bandwidth | Slicer | LimitBytes | BlackHole | Stall
_T = TypeVar("_T")


def find(kind: type[_T], toxics: Iterable[Toxic]) -> _T | None:
    """The toxic of this kind, if there is one."""
    return next((toxic for toxic in toxics if isinstance(toxic, kind)), None)


@attrs.frozen
class Piece:
    """Some bytes and the moment they are delivered, on the trio clock."""

    due: float
    data: bytes


def schedule(
    data: bytes, now: float, after: float, toxics: Iterable[Toxic], random: Random
) -> tuple[Piece, ...]:
    """Cut *data* into pieces and say when each is delivered: in order, none before *after*.

    >>> schedule(b"abc", 0.0, 0.0, [Slicer(2, pause=1.0)], Random(1))
    (Piece(due=0.0, data=b'ab'), Piece(due=1.0, data=b'c'))
    """
    toxics = tuple(toxics)
    latency = find(Latency, toxics) or Latency(0.0)
    slicer = find(Slicer, toxics)
    bandwidth = find(Bandwidth, toxics)
    due = max(after, now + max(0.0, latency.seconds + random.uniform(-1, 1) * latency.jitter))
    pieces: list[Piece] = []
    for part in _cut(data, _largest_piece(slicer, bandwidth)):
        due += (slicer.pause if slicer is not None and pieces else 0.0) + (
            len(part) / bandwidth.bytes_per_second if bandwidth is not None else 0.0
        )
        pieces.append(Piece(due, part))
    return tuple(pieces)


def _largest_piece(slicer: Slicer | None, bandwidth: Bandwidth | None) -> int:
    limits = [slicer.max_bytes] if slicer is not None else []
    limits += [int(bandwidth.bytes_per_second / _PIECES_PER_SECOND)] if bandwidth is not None else []
    return max(1, min(limits, default=1 << 30))


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
