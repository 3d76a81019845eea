"""What callers are told between two links, without any server."""

import random

import pytest
import trio

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.keeper import Keeper
from resprout.actors.connection.on_down import WAIT, OnDown
from resprout.actors.connection.policy import KeeperPolicy
from resprout.actors.redis.courier import Courier
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.policy import CallPolicy
from resprout.runtime.errors import Unavailable


class Offering:
    """A ref to a connection whose actor lives and offers *gate*, whatever its state."""

    def __init__(self, gate: Gate[RedisLink]) -> None:
        self.gate = gate

    def offered(self, _kind: object) -> Gate[RedisLink]:
        return self.gate


async def never(_nursery: trio.Nursery) -> RedisLink:
    raise ConnectionRefusedError("down")


def keeper(policy: KeeperPolicy = KeeperPolicy()) -> Keeper[RedisLink]:  # noqa: B008 - frozen.
    return Keeper(
        "redis", never, emit=lambda _: None, actor="test/redis", random=random.Random(1), policy=policy
    )


def courier(gate: Gate[RedisLink], on_down: OnDown, *, idempotent: bool = False) -> Courier:
    return Courier(Offering(gate), CallPolicy(5.0, on_down, idempotent))  # type: ignore[arg-type]  # It is asked for nothing else.


async def unused(_link: RedisLink, _seconds: float) -> None:
    raise AssertionError("there is no link")


async def test_waiting_for_a_connection_that_was_drained_ends_at_the_deadline(autojump_clock) -> None:
    kept = keeper()
    kept.gate.drain()
    with trio.fail_after(60), pytest.raises(Unavailable) as caught:
        await courier(kept.gate, WAIT).deliver(unused, timeout=5.0, reads=True)
    assert trio.current_time() < 5.1
    assert caught.value.state == "stopped"


async def test_who_waits_beyond_the_limit_is_told_at_once(autojump_clock) -> None:
    kept = keeper(KeeperPolicy(max_waiters=0))
    began = trio.current_time()
    with pytest.raises(Unavailable, match="wait already"):
        await courier(kept.gate, WAIT).deliver(unused, timeout=5.0, reads=True)
    assert trio.current_time() == began
