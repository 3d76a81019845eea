"""What is loud, what is an error at once, and how many lines an outage makes."""

import random
import socket
import ssl

import pytest
import trio
from trio.testing import MockClock

from resprout import Event
from resprout.actors.connection import AttemptFailed, FailureKind, Keeper
from resprout.actors.connection.failure_kind import failure_kind, kind_of
from resprout.actors.connection.repeats import CALM, Repeats, is_loud
from resprout.actors.redis import RedisConnection
from tests.actors.connection.fake_server import FakeServer


def loud(events: list[Event]) -> list[Event]:
    return [event for event in events if event.log_level() != "debug"]


def test_of_a_thousand_repeats_ten_are_loud_and_after_a_calm_time_the_next() -> None:
    repeats = Repeats()
    assert sum(is_loud(repeats.count("x", float(second))) for second in range(1000)) == 10
    assert repeats.count("x", 1000 + CALM) == 0
    assert repeats.count("y", 1001.0 + CALM) == 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(-2, "unknown"), FailureKind.NAME),
        (ssl.SSLCertVerificationError(1, "self-signed"), FailureKind.TLS),
        (ssl.SSLEOFError(8, "eof"), FailureKind.NETWORK),
        (ConnectionRefusedError(), FailureKind.NETWORK),
        (trio.BrokenResourceError(), FailureKind.NETWORK),
        (TimeoutError(), FailureKind.TIMEOUT),
        (trio.TooSlowError(), FailureKind.TIMEOUT),
        (RuntimeError("not today"), FailureKind.SERVICE),
        (ExceptionGroup("", [EOFError()]), FailureKind.NETWORK),
    ],
)
def test_each_failure_has_a_kind(error: Exception, kind: FailureKind) -> None:
    assert kind_of(error) is kind


def test_the_login_errors_of_redis_need_a_human_and_loading_does_not() -> None:
    from redis.exceptions import AuthenticationError, BusyLoadingError

    assert RedisConnection  # Its module teaches us.
    assert kind_of(AuthenticationError()).needs_a_human
    assert not kind_of(BusyLoadingError()).needs_a_human


class WrongPassword(Exception):
    """Of somebody's SDK."""


failure_kind.register(WrongPassword, lambda _error: FailureKind.AUTH)


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (WrongPassword(), "error"),
        (socket.gaierror(-2, "unknown"), "error"),
        (ConnectionRefusedError(), "warning"),
    ],
)
async def test_what_needs_a_human_is_an_error_at_once(
    autojump_clock: MockClock, error: Exception, level: str
) -> None:
    server, events = FakeServer(up=False, error=error), list[Event]()
    keeper = Keeper("fake", server.connect, emit=events.append, actor="app/fake", random=random.Random(3))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(3600)
        nursery.cancel_scope.cancel()
    attempts = [event for event in events if isinstance(event, AttemptFailed)]
    assert attempts[0].log_level() == level
    assert {event.log_level() for event in attempts} == {level, "debug"}
    assert len(attempts) > 100
    assert len(loud(list(attempts))) <= 9
