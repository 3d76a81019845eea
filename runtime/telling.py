"""How values are told to a person: in messages and in log lines."""

from __future__ import annotations

import enum
from collections.abc import Set as AbstractSet


def sentence(error: BaseException) -> str:
    """What kind of error it is and what it says; `repr` leaves out the file's name of an `OSError`.

    >>> sentence(FileNotFoundError(2, "No such file or directory", "/x")), sentence(TimeoutError())
    ("FileNotFoundError: [Errno 2] No such file or directory: '/x'", 'TimeoutError')
    """
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def plain(value: object) -> object:
    """*value* as a log line should show it.

    Errors become sentences, states and enum members their names (their moments are of a clock that no reader
    has), sets lists, and seconds have three digits after the point.

    >>> plain(0.05640542), plain(frozenset({"b", "a"})), plain(ValueError("no"))
    (0.056, ['a', 'b'], 'ValueError: no')
    """
    match value:
        case BaseException():
            return sentence(value)
        case bool() | int() | str() | None:
            return value
        case float():
            return round(value, 3)
        case enum.Enum():
            return value.value
        case AbstractSet():
            return sorted(map(str, value))
        case _:
            name = getattr(value, "name", None)
            return name if isinstance(name, str) else str(value)
