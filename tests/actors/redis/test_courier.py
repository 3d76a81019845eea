"""What callers are told between two links, without any server."""

import random
from collections.abc import Awaitable, Callable

import pytest
import trio

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.keeper import Keeper
from resprout.actors.connection.on_down import FAIL_FAST, WAIT, OnDown
from resprout.actors.connection.policy import KeeperPolicy
from resprout.actors.redis.courier import Courier
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.policy import CallPolicy
from resprout.actors.redis.slot import NoReply
from resprout.runtime.errors import DeadlineExceeded, OutcomeUnknown, Phase, Sent, ServiceError, Unavailable


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


def ending_in(*ends: Sent) -> Callable[[RedisLink, float], Awaitable[None]]:
    """A sender whose attempts end without a reply, each marked as said."""
    left = list(ends)

    async def send(link: RedisLink, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        raise NoReply(ConnectionResetError(), left.pop(0), trio.current_time() + seconds)

    return send


@pytest.mark.parametrize(
    ("ended", "phase"), [(Sent.NO, Phase.QUEUE), (Sent.MAYBE, Phase.WRITE), (Sent.YES, Phase.READ)]
)
async def test_a_late_command_says_how_far_it_had_come(ended: Sent, phase: Phase, autojump_clock) -> None:
    class Serving(Courier):
        async def _link(self, deadline: float, sent: Sent) -> RedisLink:
            await trio.lowlevel.checkpoint()
            return object()  # type: ignore[return-value]  # Nobody looks inside.

    async def send(link: RedisLink, seconds: float) -> None:
        await trio.sleep(seconds)
        raise NoReply(TimeoutError(), ended, trio.current_time(), expired=True)

    with pytest.raises(DeadlineExceeded) as late:
        await Serving(Offering(None), CallPolicy(5.0)).deliver(send, timeout=5.0, reads=True)  # type: ignore[arg-type]  # As above.
    assert late.value.phase is phase


@pytest.mark.parametrize("on_down", [FAIL_FAST, WAIT])
async def test_what_may_have_run_once_is_never_called_unsent_later(on_down: OnDown, autojump_clock) -> None:
    links: list[object] = [object(), object()]
    gate = keeper().gate

    class Serving(Courier):
        async def _link(self, deadline: float, sent: Sent) -> RedisLink:
            if links:
                await trio.lowlevel.checkpoint()
                return links.pop()  # type: ignore[return-value]  # Nobody looks inside.
            return await super()._link(deadline, sent)

    serving = Serving(Offering(gate), CallPolicy(5.0, on_down, idempotent=True))  # type: ignore[arg-type]  # As above.
    with pytest.raises(ServiceError) as caught:
        await serving.deliver(ending_in(Sent.MAYBE, Sent.NO), timeout=5.0, reads=False)
    assert caught.value.sent is Sent.MAYBE
    assert isinstance(caught.value, OutcomeUnknown | DeadlineExceeded)
