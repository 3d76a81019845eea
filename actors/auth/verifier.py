"""What an authenticator needs of a verifier. Ready ones: `RedisSessions` here, and `resprout.actors.auth.signed`."""

from collections.abc import Awaitable
from typing import Protocol, TypeVar, runtime_checkable

from resprout.runtime.errors import ReplyError

I_co = TypeVar("I_co", covariant=True)


class InvalidToken(ReplyError):
    """The verifier says that the token is no good: unknown, expired or revoked. The service itself lives."""

    def __init__(self, why: str = "the token is not valid") -> None:
        super().__init__(why)


class Verifier(Protocol[I_co]):
    """Finds out whom a token stands for. Any async function of a token is one.

    Whatever it raises besides `InvalidToken` says that the service behind it fails, with two exceptions: a
    `PoolExhausted` or `CircuitOpen` says that it was not asked, and a programming error says nothing about it.
    """

    def __call__(self, token: str, /) -> Awaitable[I_co]:
        """Return the identity *token* stands for, or raise `InvalidToken`."""
        ...


@runtime_checkable
class Probing(Protocol):
    """A verifier that knows a better question than a random token to find out whether its service lives."""

    async def probe(self) -> None:
        """Ask the service anything, along the path that `__call__` takes; raise if it does not answer."""
