"""What an outage of an auth service leaves in the metrics: each event is one step, and none is missing."""

import itertools
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from resprout.actors.auth import (
    AuthClient,
    Authenticator,
    AuthPolicy,
    GraceUsed,
    InvalidToken,
    VerifierFailed,
)
from resprout.actors.metrics import scrape, tallies_of
from resprout.actors.monitor import HealthChanged, HealthMonitor, RecoveryAsked
from resprout.runtime import Event, Name, ServiceError, open_runtime
from resprout.runtime.breaker import BreakerChanged
from resprout.runtime.breakers import breakers
from resprout.supervisors import child, supervisor

AUTH: Name[Authenticator[str]] = Name(Authenticator, "auth")
MONITOR = Name(HealthMonitor, "monitor")


async def test_every_event_of_an_outage_is_counted_once(autojump_clock: MockClock) -> None:
    events, failing = list[Event](), list[Exception]()
    refused = answered = 0

    async def verify(token: str) -> str:
        await trio.sleep(0.01)
        if failing:
            raise failing[0]
        if not token.startswith("user"):
            raise InvalidToken
        return token

    app = supervisor(
        "app",
        child("auth", partial(Authenticator, verify, policy=AuthPolicy(grace=120.0)), name=AUTH),
        child("monitor", partial(HealthMonitor, {"auth": AUTH}), name=MONITOR),
    )
    async with open_runtime(app, seed=3) as runtime:
        tallies_of(runtime)
        runtime.events.subscribe(events.append)
        for second in range(0, 3600, 2):
            await trio.sleep(2)
            if second % 600 == 100:
                failing.append(KeyError("a bug") if second == 100 else ConnectionResetError("down"))
            elif second % 600 == 400:
                failing.clear()
            try:
                await AuthClient(AUTH).verify(f"user {second % 7}" if second % 3 else "forged")
            except ServiceError:
                refused += 1
            except InvalidToken:
                pass
            else:
                answered += 1
        text = (await scrape(runtime))[0].decode()
        breaker = breakers().find("auth")
        assert breaker is not None
        stats = breaker.stats

    def counted(kind: type[Event], **facts: object) -> float:
        found = [event for event in events if isinstance(event, kind)]
        return float(
            len([e for e in found if all(getattr(e, name) == value for name, value in facts.items())])
        )

    expected = {
        'auth_grace_uses_total{service="auth"}': counted(GraceUsed),
        'verifier_errors_total{service="auth"}': counted(VerifierFailed),
        'health_changes_total{healthy="yes",service="auth"}': counted(HealthChanged, ok=True),
        'health_changes_total{healthy="no",service="auth"}': counted(HealthChanged, ok=False),
        'recovery_requests_total{service="auth"}': counted(RecoveryAsked),
        'breaker_rejected_total{service="auth"}': float(stats.rejected),
    }
    changes = [event for event in events if isinstance(event, BreakerChanged)]
    for state in ("closed", "open", "half_open"):
        expected[f'breaker_transitions_total{{service="auth",state="{state}"}}'] = float(
            len([event for event in changes if event.new.name == state])
        )
    for series, count in expected.items():
        assert f"resprout_{series} {count}\n" in text, (series, count)
    assert answered > 500
    assert refused > 50
    assert counted(VerifierFailed) > 10
    # Each change begins where the one before it ended: none was lost, none told twice.
    assert all(a.new.generation == b.old.generation for a, b in itertools.pairwise(changes))
    assert changes[-1].new.name == "closed"


async def test_an_hour_without_the_service_costs_no_restart_and_a_bounded_number_of_events(
    autojump_clock: MockClock,
) -> None:
    events, asked = list[Event](), 0

    async def verify(token: str) -> str:
        nonlocal asked
        asked += 1
        await trio.sleep(0.01)
        raise ConnectionRefusedError("down")

    app = supervisor(
        "app",
        child("auth", partial(Authenticator, verify), name=AUTH),
        child("monitor", partial(HealthMonitor, {"auth": AUTH}), name=MONITOR),
    )
    async with open_runtime(app) as runtime:
        runtime.events.subscribe(events.append)
        while trio.current_time() < 3600:
            with pytest.raises(ServiceError) as down:
                await AuthClient(AUTH).verify("t1")
            assert down.value.retry_after is not None
            await trio.sleep(2.0)
        assert [one.restarts for one in runtime.snapshot().children] == [0, 0]
    assert asked < 3600 / 9 + 3600 / 27 + 10
    assert len(events) < 600
