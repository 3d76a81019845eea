"""What sounds like a secret is hidden, wherever in a value it stands."""

import dataclasses
import time
from collections.abc import Mapping

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from resprout import Actor, ActorExited, Name, child, open_runtime, supervisor
from resprout.runtime.masking import LONGEST_LOOKED_AT, masked

CANARY = "canary, (or '3'"


@attrs.frozen
class Login:
    user: str
    password: str


@dataclasses.dataclass
class Target:
    host: str
    apiKey: str  # noqa: N815 - as others write it.


class Wordy:
    """Shows itself in its own way."""

    def __repr__(self) -> str:
        return f"<Wordy user=ann auth_header=Basic {CANARY}>"


@pytest.mark.parametrize(
    "value",
    [
        {"token": CANARY, "user": "ann"},
        {"session": {"cookies": [CANARY, {"a": CANARY}]}, "user": "ann"},
        {b"Authorization": CANARY.encode(), "user": "ann"},
        [("user", "ann"), ("X-Auth-Token", CANARY)],
        Login("ann", CANARY),
        [{"logins": (Login("ann", CANARY), Login("bob", CANARY))}],
        [Target("ann", CANARY)],
        Wordy(),
        {"user": "ann", "private": {Login("x", CANARY): CANARY}},
    ],
)
def test_no_secret_is_shown_and_what_is_none_is(value: object) -> None:
    text = masked(repr(value))
    assert "canary" not in text
    assert "ann" in text
    assert "***" in text


values = st.recursive(
    st.text() | st.integers() | st.none() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(before=values, after=values, secret=values)
def test_a_secret_of_whatever_shape_is_cut_out_exactly(before: object, after: object, secret: object) -> None:
    """Exactly, unless names before it sound secret themselves: then more is hidden."""
    text = masked(repr({"a": before, "password": [secret, "canary"], "b": after})[:LONGEST_LOOKED_AT])
    assert "canary" not in text
    if masked(repr(before)) == repr(before) and len(repr([before, secret])) < 1_000:
        assert text.startswith(f"{{'a': {before!r}, 'password': ***, 'b': ")


def test_a_value_whose_text_is_endless_costs_no_time() -> None:
    for text in ("pass" * 500_000, "token=" * 500_000, "'" * 2_000_000, "(" * 2_000_000):
        begin = time.perf_counter()
        assert len(masked(text)) <= LONGEST_LOOKED_AT
        assert time.perf_counter() - begin < 1


class Client(Actor):
    """Describes a part of itself that holds a secret."""

    async def fall(self) -> None:
        raise ValueError("x")

    def describe_state(self) -> Mapping[str, object]:
        return {"login": Login("ann", CANARY), "headers": {"Cookie": CANARY}}


CLIENT = Name(Client, "client")


async def test_a_crash_report_masks_inside_of_what_an_actor_describes(autojump_clock: MockClock) -> None:
    exits: list[ActorExited] = []
    async with open_runtime(supervisor("app", child("client", Client, name=CLIENT))) as runtime:
        runtime.events.subscribe(lambda e: exits.append(e) if isinstance(e, ActorExited) else None)
        CLIENT.cast(Client.fall)
        await trio.sleep(1)
    report = exits[0].report
    assert report is not None
    assert report.described == {"login": "Login(user='ann', password=***)", "headers": "{'Cookie': ***}"}
