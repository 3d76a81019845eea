"""Bytes to str, wherever they are in a reply."""

from typing import Any


def decoded(reply: Any) -> Any:
    """*reply* with all bytes read as UTF-8; errors and numbers stay as they are.

    >>> decoded([b"a", {b"k": 1}, None])
    ['a', {'k': 1}, None]
    """
    match reply:
        case bytes():
            return reply.decode()
        case list():
            return [decoded(item) for item in reply]
        case dict():
            return {decoded(key): decoded(value) for key, value in reply.items()}
        case _:
            return reply
