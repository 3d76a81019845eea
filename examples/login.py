"""The Redis manager and the login of docs/porting.md, after the port; its Redis is killed while users log in.

Needs ``pip install 'resprout[redis,embedded]'``.
"""

import os
import signal
from collections import Counter
from functools import partial

import trio

from resprout import Name, ServiceError, Unavailable, child, open_runtime, supervisor
from resprout.actors.auth import AuthClient, Authenticator, InvalidToken, RedisSessions
from resprout.actors.monitor import HealthMonitor
from resprout.actors.process import Endpoint, ServerProcess, recipes, server_child
from resprout.actors.redis import WAIT, RedisClient, RedisConnection

SERVER = Name(ServerProcess, "server")
REDIS = Name(RedisConnection, "redis")
AUTH: Name[Authenticator[str]] = Name(Authenticator, "auth")
MONITOR = Name(HealthMonitor, "monitor")

redis = RedisClient(REDIS, timeout=2.0, idempotent=True)
sessions = RedisSessions(redis, ttl=86_400.0)
auth = AuthClient(AUTH)


def where() -> str:
    """Asked on each attempt to connect."""
    endpoint = SERVER.offered(Endpoint)
    if endpoint is None:
        raise Unavailable("redis-server", "its process does not run")
    return endpoint.url


app = supervisor(
    "app",
    server_child("server", recipes.redis(), name=SERVER),  # In production: somewhere else.
    child("redis", partial(RedisConnection, where), name=REDIS),
    child("auth", partial(Authenticator, sessions), name=AUTH),
    child("monitor", partial(HealthMonitor, {"redis": REDIS, "auth": AUTH}), name=MONITOR),
)


async def log_in(token: str) -> str:
    """What a web handler would answer."""
    try:
        return f"200 {await auth.verify(token)}"
    except InvalidToken:
        return "401"
    except ServiceError:
        return "503"


async def main() -> None:
    async with open_runtime(app) as runtime:
        await redis.using(on_down=WAIT, timeout=20).ping()
        token = await sessions.issue("ann")
        print("before:", await log_in(token), await log_in("forged"))
        endpoint = SERVER.offered(Endpoint)
        assert endpoint is not None
        os.kill(endpoint.pid, signal.SIGKILL)
        answers: Counter[str] = Counter()
        with trio.fail_after(40):
            while not (answers["503"] and answers["200 ann"]):
                await trio.sleep(0.02)
                answers[await log_in(token)] += 1
        print("after the kill:", "503 for a moment," if answers["503"] else "", await log_in(token))
        await sessions.revoke(token)
        print("logged out:", await log_in(token))
        restarted = [one.path for one in runtime.snapshot().children if one.restarts]
        print("restarted:", restarted)


if __name__ == "__main__":
    trio.run(main)
