"""Sessions in a real Redis that is killed, frozen, cut off and slow; what users of an authenticator see of it."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio

from resprout.actors.auth import AuthClient, Authenticator, AuthPolicy, InvalidToken, RedisSessions
from resprout.actors.connection import KeeperPolicy
from resprout.actors.redis import WAIT, RedisClient, RedisConnection
from resprout.runtime import BreakerPolicy, Event, Name, errors, open_runtime
from resprout.runtime.breaker import BreakerChanged
from resprout.runtime.breakers import breakers
from resprout.runtime.lifecycle import ActorRestarting
from resprout.supervisors import child, supervisor
from resprout.testing import Bandwidth, BlackHole, Latency, LocalServer, Slicer, Toxic, fault_proxy

pytestmark = pytest.mark.real

REDIS = Name(RedisConnection, "redis")
AUTH: Name[Authenticator[str]] = Name(Authenticator, "auth")
auth = AuthClient(AUTH)
redis = RedisClient(REDIS, timeout=0.3, idempotent=True)
sessions = RedisSessions(redis)

# A breaker and probes of a second instead of half a minute: these servers run on real time.
FAST = AuthPolicy(timeout=0.5, probe_every=0.2, breaker=BreakerPolicy(open_for=0.5, open_cap=1.0))
QUICK = KeeperPolicy(probe_every=0.5, probe_timeout=0.3, attempt_timeout=1.0)


@asynccontextmanager
async def tree(url: str, policy: AuthPolicy = FAST) -> AsyncIterator[list[Event]]:
    """Redis and an authenticator in front of it, ready; yields the events of the runtime."""
    events: list[Event] = []
    app = supervisor(
        "app",
        child("redis", partial(RedisConnection, url, policy=QUICK), name=REDIS),
        child("auth", partial(Authenticator, sessions, policy=policy), name=AUTH),
    )
    async with open_runtime(app) as runtime:
        runtime.events.subscribe(events.append)
        await redis.using(on_down=WAIT, timeout=5).ping()
        yield events
        assert not [event for event in events if isinstance(event, ActorRestarting)]


async def until_refused_at_once(token: str, within: float) -> errors.CircuitOpen:
    """Ask until the breaker is open; every answer on the way is typed, and the last one came at once."""
    with trio.fail_after(within):
        while True:
            began = trio.current_time()
            try:
                await auth.verify(token)
            except errors.CircuitOpen as error:
                assert trio.current_time() - began < 0.1
                return error
            except errors.ServiceError:
                pass
            await trio.sleep(0.01)


async def until_closed(within: float) -> None:
    """Wait, without any user, until the breaker is closed."""
    breaker = breakers().find("auth")
    assert breaker is not None
    with trio.fail_after(within):
        while breaker.state.name != "closed":
            await trio.sleep(0.02)


def transitions(events: Sequence[Event]) -> list[str]:
    """What the breaker became, in order."""
    return [event.new.name for event in events if isinstance(event, BreakerChanged)]


async def test_a_session_lives_until_it_is_revoked_or_its_time_is_over(redis_server: LocalServer) -> None:
    async with tree(redis_server.url):
        ann, bob = await sessions.issue("ann"), await sessions.issue("bob", ttl=0.2)
        assert await auth.verify(ann) == "ann"
        assert await auth.verify(bob) == "bob"
        await sessions.revoke(ann)
        await sessions.revoke(ann)  # Once more does no harm.
        await trio.sleep(0.25)
        for token in (ann, bob, "never issued", "", "\ud800", "x" * 20_000):
            with pytest.raises(InvalidToken):
                await auth.verify(token)


async def test_redis_never_sees_a_token_and_holds_each_for_its_time_only(redis_server: LocalServer) -> None:
    async with tree(redis_server.url):
        token = await sessions.issue("ann", ttl=60)
        keys = await redis.keys("*")
        assert len(keys) == 1
        assert token.encode() not in keys[0] + (await redis.get(keys[0]) or b"")
        assert 59_000 < await redis.pttl(keys[0]) <= 60_000
        assert len({await sessions.issue("ann") for _ in range(50)}) == 50


async def test_a_key_that_another_program_wrote_is_no_session(redis_server: LocalServer) -> None:
    async with tree(redis_server.url):
        token = await sessions.issue("ann")
        (key,) = await redis.keys("*")
        await redis.set(key, b"\xff\xfe")
        with pytest.raises(InvalidToken, match="no identity"):
            await auth.verify(token)


async def test_no_number_of_bad_tokens_opens_the_breaker(redis_server: LocalServer) -> None:
    async with tree(redis_server.url) as events:
        for number in range(200):
            with pytest.raises(InvalidToken):
                await auth.verify(f"forged {number}")
        assert transitions(events) == []


async def test_a_killed_redis_opens_the_breaker_which_closes_without_any_user(
    redis_server: LocalServer,
) -> None:
    async with tree(redis_server.url) as events:
        token = await sessions.issue("ann")
        redis_server.kill()
        refusal = await until_refused_at_once(token, within=5)
        assert refusal.retry_after is not None
        assert refusal.retry_after > 0
        await redis_server.restart()
        await until_closed(within=10)
        assert await auth.verify(token) == "ann"
        seen = transitions(events)
        assert seen[0] == "open"
        assert seen[-2:] == ["half_open", "closed"]
        assert seen.count("closed") == 1


@pytest.mark.parametrize("fault", ["frozen", "black hole"])
async def test_a_redis_that_says_nothing_opens_the_breaker_within_the_deadlines(
    redis_server: LocalServer, fault: str
) -> None:
    async with (
        fault_proxy(redis_server.host, redis_server.port) as proxy,
        tree(f"redis://{proxy.host}:{proxy.port}") as events,
    ):
        token = await sessions.issue("ann")
        if fault == "frozen":
            redis_server.freeze()
        else:
            proxy.set(BlackHole())
        await until_refused_at_once(token, within=5)
        if fault == "frozen":
            redis_server.thaw()
        else:
            await proxy.heal()
        await until_closed(within=10)
        assert await auth.verify(token) == "ann"
        assert transitions(events)[-1] == "closed"


@pytest.mark.parametrize(
    "toxics", [(Latency(0.05, 0.03),), (Slicer(1),), (Bandwidth(4_000),)], ids=["latency", "slicer", "slow"]
)
async def test_a_bad_line_is_no_outage(redis_server: LocalServer, toxics: tuple[Toxic, ...]) -> None:
    async with (
        fault_proxy(redis_server.host, redis_server.port) as proxy,
        tree(f"redis://{proxy.host}:{proxy.port}") as events,
    ):
        token = await sessions.issue("ann")
        proxy.set(*toxics)
        for _ in range(10):
            assert await auth.verify(token) == "ann"
            with pytest.raises(InvalidToken):
                await auth.verify("forged")
        assert transitions(events) == []


async def test_a_redis_that_refuses_us_is_a_failing_service_and_not_a_bad_token(
    redis_server: LocalServer,
) -> None:
    async with tree(redis_server.url) as events:
        token = await sessions.issue("ann")
        await redis.execute_command("ACL", "SETUSER", "default", "-get")
        await until_refused_at_once(token, within=5)
        await redis.execute_command("ACL", "SETUSER", "default", "+get")
        await until_closed(within=10)
        assert await auth.verify(token) == "ann"
        assert transitions(events)[-1] == "closed"


async def test_a_storm_of_cancels_and_flapping_gives_nobody_the_identity_of_another(
    redis_server: LocalServer,
) -> None:
    wrong, right = list[str](), 0

    async def ask(token: str, owner: str, patience: float) -> None:
        nonlocal right
        with trio.move_on_after(patience):
            try:
                found = await auth.verify(token)
            except errors.ServiceError:
                return
            if found == owner:
                right += 1
            else:
                wrong.append(found)

    async with (
        fault_proxy(redis_server.host, redis_server.port) as proxy,
        tree(f"redis://{proxy.host}:{proxy.port}"),
    ):
        owners = {await sessions.issue(f"user {n}"): f"user {n}" for n in range(20)}
        for turn in range(10):
            proxy.set(Latency(0.01, 0.01))
            async with trio.open_nursery() as nursery:
                for number, (token, owner) in enumerate(owners.items()):
                    nursery.start_soon(ask, token, owner, 0.002 * number)
                    nursery.start_soon(ask, token, owner, 1.0)
                await trio.sleep(0.015)
                if turn % 3 == 2:
                    proxy.reset()
        await until_closed(within=10)
    assert wrong == []
    assert right >= 20


async def test_with_grace_known_users_pass_through_an_outage(redis_server: LocalServer) -> None:
    async with tree(redis_server.url, attrs.evolve(FAST, grace=60.0)):
        known, unknown = await sessions.issue("ann"), await sessions.issue("bob")
        assert await auth.verify(known) == "ann"
        redis_server.kill()
        for _ in range(10):
            assert await auth.verify(known) == "ann"
            with pytest.raises(errors.ServiceError):
                await auth.verify(unknown)


@pytest.mark.parametrize("ttl", [0, -1, math.inf, math.nan, 1e12])
def test_sessions_without_an_end_are_refused(ttl: float) -> None:
    with pytest.raises(ValueError, match="a session must last"):
        RedisSessions(redis, ttl=ttl)
    with pytest.raises(ValueError, match="prefix"):
        RedisSessions(redis, prefix="")
