"""What an operator reads at three in the morning."""

from collections.abc import Iterator

import attrs
import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture

from resprout import Actor, Event, Name, child, log_events, open_runtime, supervisor
from resprout.runtime.events import EventStream
from resprout.runtime.thinning import FREE, LAST_GAP, Thinning


@attrs.frozen(kw_only=True)
class Away(Event):
    """A service cannot be reached."""

    level = "warning"

    service: str
    why: str
    retry_after: float


@attrs.frozen(kw_only=True)
class Back(Event):
    """It can be reached again."""

    service: str


@attrs.define
class Vault(Actor):
    """Holds what nobody may read in a log."""

    password: str = "hunter2"

    async def open(self) -> None:
        """Crash."""
        raise LookupError("no key")


VAULT = Name(Vault, "vault")


@pytest.fixture
def lines() -> Iterator[LogCapture]:
    capture, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(**before)


async def test_an_hour_of_an_outage_is_a_handful_of_lines(
    lines: LogCapture, autojump_clock: trio.testing.MockClock
) -> None:
    stream = EventStream()
    log_events(stream)
    for attempt in range(720):
        why = f"refused after {attempt} ms"
        stream.emit(Away(actor="app/redis", service="redis", why=why, retry_after=5.0))
        await trio.sleep(5)
    assert 10 < len(lines.entries) < 30
    held_back = sum(entry.get("repeated", 0) for entry in lines.entries)
    assert 600 < len(lines.entries) + held_back <= 720


async def test_a_new_outage_is_news_and_so_is_another_reason(
    lines: LogCapture, autojump_clock: trio.testing.MockClock
) -> None:
    stream = EventStream()
    log_events(stream)
    away = Away(actor="app/redis", service="redis", why="refused", retry_after=1.0)
    for _ in range(50):
        stream.emit(away)
    assert len(lines.entries) == FREE
    stream.emit(attrs.evolve(away, why="wrong password"))
    stream.emit(attrs.evolve(away, actor="app/other"))
    assert len(lines.entries) == FREE + 2
    stream.emit(Back(actor="app/redis", service="redis"))
    stream.emit(away)
    assert [entry["event"] for entry in lines.entries[-2:]] == ["Back", "Away"]


async def test_a_crash_has_its_traceback_once_and_no_values_of_variables(lines: LogCapture) -> None:
    async with open_runtime(supervisor("app", child("vault", Vault, name=VAULT))) as runtime:
        log_events(runtime.events)
        VAULT.cast(Vault.open)
        with trio.fail_after(2):
            while not any(entry["event"] == "ActorRestarting" for entry in lines.entries):
                await trio.sleep(0.01)
    crash = next(entry for entry in lines.entries if entry["event"] == "ActorCrashed")
    assert (crash["log_level"], crash["actor"], crash["error"]) == (
        "error",
        "app/vault",
        "LookupError: no key",
    )
    assert crash["message"] == "open"
    assert crash["exception"].count("LookupError: no key") == 1
    assert "hunter2" not in str(lines.entries)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=200))
def test_no_line_is_held_back_for_longer_than_the_last_gap_and_all_are_counted(gaps: list[float]) -> None:
    thinning, now, written, held, last = Thinning(), 0.0, 0, 0, 0.0
    for gap in gaps:
        now += gap
        answer = thinning.admit(("app", "x"), now)
        if answer is None:
            assert now - last < LAST_GAP
        else:
            written, held, last = written + 1, held + answer, now
    assert written + held <= len(gaps)
