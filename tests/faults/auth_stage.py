"""Logins on stage: tokens kept in Redis, verified behind the breaker, watched by the health monitor."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import attrs
import trio

from resprout.actors.auth import AuthClient, AuthDesk, Authenticator, AuthPolicy, InvalidToken
from resprout.actors.monitor import HealthMonitor, Place
from resprout.actors.redis import WAIT, RedisClient, RedisConnection
from resprout.runtime import Name
from resprout.supervisors import ChildSpec, child
from tests.faults.history import Kind
from tests.faults.judge import Truth
from tests.faults.redis_stage import RedisStage, hasten, is_ready
from tests.faults.stage import CROWD_TIMEOUT, SHORT, TIMEOUT

AUTH: Name[Authenticator[str]] = Name(Authenticator, "faults-auth")
SESSIONS: Name[RedisConnection] = Name(RedisConnection, "faults-sessions")
CLIENT: AuthClient[str] = AuthClient(AUTH)
# It waits for its store: one that failed fast would open the breaker whenever the connection is made anew.
STORE = RedisClient(SESSIONS, decode_responses=True, timeout=TIMEOUT / 2, on_down=WAIT)
FORGED = "the token is refused"


@attrs.define(eq=False)
class AuthStage(RedisStage):
    """Each caller has a token of its own; every fourth shows a forged one, which must never pass."""

    name: ClassVar[str] = "auth"
    hogs: ClassVar[str] = (
        "the session store hangs; 1,000 different tokens, of which 64 are verified at a time"
    )

    async def prepare(self) -> None:
        self.history.refusals = ()
        for caller in range(100):
            await self.admin("SET", f"session:token{caller}", f"user{caller}")

    def children(self) -> Sequence[ChildSpec]:
        watched: dict[str, Place] = {"sessions": SESSIONS, "auth": AUTH}
        policy = AuthPolicy(breaker=SHORT) if self.quick else AuthPolicy()
        connection = partial(RedisConnection, self.behind_proxy(self.server.url), policy=self.policy)
        return [
            child("sessions", connection, name=SESSIONS),
            child("auth", partial(Authenticator, _verify, policy=policy), name=AUTH),
            child("monitor", partial(HealthMonitor, watched)),
        ]

    async def turn(self, caller: int) -> None:
        if caller % 4 == 3:
            await self._show(caller, self.value(caller), FORGED)
        else:
            await self._show(caller, f"token{caller}", f"user{caller}")

    async def crowd_call(self, caller: int) -> None:
        await self._show(caller, self.value(caller), FORGED, CROWD_TIMEOUT)

    async def _show(self, caller: int, token: str, expected: str, timeout: float = TIMEOUT) -> None:
        async def ask() -> str:
            try:
                return await CLIENT.verify(token, timeout=timeout)
            except InvalidToken:
                return FORGED

        await self.call(caller, Kind.ASK, expected, ask, timeout)

    def hasten(self) -> None:
        hasten(SESSIONS)

    def ready(self) -> bool:
        desk = AUTH.offered(AuthDesk)
        return is_ready(SESSIONS) and desk is not None and not desk.trouble()

    def imbalance(self) -> list[str]:
        desk = AUTH.offered(AuthDesk)
        facts = {} if desk is None else desk.describe()
        return [
            f"{name}: {facts[name]}, but nobody asks" for name in ("in_work", "waiting") if facts.get(name)
        ]

    async def truth(self) -> Truth:
        await trio.lowlevel.checkpoint()
        return Truth()


async def _verify(token: str) -> str:
    user = await STORE.get(f"session:{token}")
    if user is None:
        raise InvalidToken
    return str(user)
