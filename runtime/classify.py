"""Whose failure was it: ours or the remote's?

An expected fault of a remote is data: the connection backs off, the breaker counts. A programming error
must never hide behind "the service is down": it passes through and crashes the actor, whose supervisor
restarts it. In doubt the remote is blamed, because then the connection simply tries again.
"""

from collections.abc import Iterator

import trio

# What Python raises when the code is wrong. RuntimeError is left out: client libraries raise it for lost
# transports (uvloop does). ValueError too: certificate and decoding errors, and wrong URLs, derive from it.
PROGRAMMING_ERRORS: tuple[type[Exception], ...] = (
    TypeError,
    AttributeError,
    NameError,
    AssertionError,
    IndexError,
    KeyError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
    ImportError,
    MemoryError,
    trio.BusyResourceError,
)


def is_programming_error(error: BaseException) -> bool:
    """Whether *error*, or any leaf of it if it is a group, says that the code is wrong.

    >>> is_programming_error(TypeError("takes 1 argument")), is_programming_error(ConnectionRefusedError())
    (True, False)
    """
    return any(isinstance(leaf, PROGRAMMING_ERRORS) for leaf in leaves(error))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Every exception in *error* that is not a group, in order; *error* itself if it is none."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def unwrapped(error: Exception) -> Exception:
    """The only leaf of *error* if it has but one, else *error* as it is."""
    found = list(leaves(error))
    only = found[0] if len(found) == 1 else error
    return only if isinstance(only, Exception) else error
