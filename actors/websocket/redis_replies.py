"""Between our values and what the scripts of `RedisStore` take and answer; replies may come decoded or as bytes."""

from typing import TypeAlias

import msgspec

from resprout.actors.websocket.law import Counts
from resprout.actors.websocket.store import DeadLetter, Failure, Head, NewMessage, Stored

Argument: TypeAlias = str | bytes | int


def as_ms(moment: float) -> int:
    """Seconds since 1970 as the whole milliseconds that Redis compares."""
    return round(moment * 1000)


def as_arguments(message: NewMessage) -> tuple[Argument, ...]:
    """A message as APPEND takes it."""
    expiry: Argument = "" if message.expires_at is None else as_ms(message.expires_at)
    return message.id, message.data, expiry, max(1, round(message.dedupe * 1000))


def as_text(value: object) -> str:
    """A reply as text, whether the client decodes replies or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


def as_bytes(value: object) -> bytes:
    """A reply as bytes, whether the client decodes replies or not."""
    return value if isinstance(value, bytes) else str(value).encode()


def as_int(value: object) -> int:
    """A reply as a number."""
    return int(as_text(value))


def as_list(value: object) -> list[object]:
    """A reply as a list.

    Raises:
        TypeError: If it is none: the script and this file do not fit together.
    """
    if not isinstance(value, list):
        raise TypeError(f"expected a list from Redis, not {value!r}")
    return value


def as_sequence(entry: object) -> int:
    """The sequence in the id of a stream's entry."""
    return as_int(as_text(entry).partition("-")[0])


def as_head(value: object) -> Head:
    """What OPEN answers."""
    epoch, last, first = as_list(value)
    floor = as_sequence(first) - 1 if as_text(first) else as_int(last)
    return Head(epoch=as_text(epoch), last=as_int(last), floor=floor)


def as_stored(row: object) -> Stored:
    """One row of READ."""
    entry, id, data, expiry = as_list(row)
    expires_at = as_int(expiry) / 1000 if as_text(expiry) else None
    return Stored(seq=as_sequence(entry), id=as_text(id), data=as_bytes(data), expires_at=expires_at)


def as_history(value: object) -> tuple[Failure, ...]:
    """Lines of FAIL."""
    rows = [msgspec.json.decode(line, type=tuple[float, str]) for line in as_bytes(value).splitlines()]
    return tuple(Failure(at=at, reason=reason) for at, reason in rows)


def as_letter(stream: str, row: object) -> DeadLetter:
    """One row of LETTERS."""
    seq, id, data, reason, at, history = as_list(row)
    return DeadLetter(
        stream=stream,
        seq=as_int(seq),
        id=as_text(id),
        data=as_bytes(data),
        reason=as_text(reason),
        failures=as_history(history),
        at=float(as_text(at)),
    )


def as_counts(value: object) -> Counts:
    """What BOOKS, TOTALS and AUDIT answer."""
    accepted, acked, dead, expired, redriven, waiting = (as_int(number) for number in as_list(value))
    return Counts(
        accepted=accepted, acked=acked, pending=waiting, dead=dead, expired=expired, redriven=redriven
    )
