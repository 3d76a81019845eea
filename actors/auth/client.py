"""What application code uses to verify tokens."""

from typing import Final, Generic, TypeVar, cast

import trio

from resprout.actors.auth.actor import Authenticator
from resprout.actors.auth.desk import AuthDesk
from resprout.runtime.errors import Unavailable
from resprout.runtime.ref import Address

I = TypeVar("I")  # noqa: E741 - the identity a token stands for.

RESTART_WAIT: Final = 0.25  # Seconds after which a restarting authenticator is usually back.


class AuthClient(Generic[I]):
    """Verifies tokens through an `Authenticator`, wherever in the tree it is.

    >>> from resprout.runtime import Name
    >>> AUTH: Name[Authenticator[str]] = Name(Authenticator, "auth")
    >>> auth = AuthClient(AUTH)

    Args:
        authenticator: Its name or ref.
        timeout: Seconds a call may take in all.
    """

    def __init__(self, authenticator: Address[Authenticator[I]], *, timeout: float = 5.0) -> None:
        self._authenticator, self._timeout = authenticator, timeout

    async def verify(self, token: str, *, timeout: float | None = None) -> I:
        """Return the identity *token* stands for.

        Raises:
            InvalidToken: The verifier said no.
            CircuitOpen: The verifier has failed too often; it was not asked. See `retry_after`.
            Unavailable: The verifier failed, or the authenticator is being restarted.
            DeadlineExceeded: No verdict in time.
            PoolExhausted: Too many tokens wait already.
        """
        await trio.lowlevel.checkpoint()
        return await self._desk().verify(token, self._timeout if timeout is None else timeout)

    def forget(self, token: str) -> None:
        """*token* was revoked: it must not pass any more for having been verified before."""
        self._desk().forget(token)

    def _desk(self) -> AuthDesk[I]:
        desk = self._authenticator.offered(AuthDesk)
        if desk is None:
            raise Unavailable(
                self._authenticator.path,
                "the authenticator is being restarted",
                state="restarting",
                retry_after=RESTART_WAIT,
            )
        return cast("AuthDesk[I]", desk)
