"""The faults, as data: how to strike, how to heal, for how long; and what is not struck here, with the reason.

The numbers are those under which the project speaks of faults: F1 to F23.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from resprout.testing import Bandwidth, BlackHole, Direction, Latency, LimitBytes, Slicer
from tests.faults.stage import Stage

Act = Callable[[Stage, trio.Nursery], Awaitable[None]]

RECOVERS_WITHIN = 35.0  # Seconds after the fault is over.
RECOVERS_WITHIN_AFTER_A_HANG = 45.0
RECOVERS_WITHIN_IF_ALL_FAIL = 60.0


@attrs.frozen(kw_only=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        code: Its number.
        name: What happens, for people.
        strike: Lets it happen, and returns when it has; a fault that is many takes its time.
        heal: Undoes it.
        seconds: From the strike to the healing.
        quick: The same in the fast run; None if it is not part of that.
        hang: Whether nothing looks broken, so that recovery may take longer.
        hasty: Whether it needs hundreds of connections, one after the other, and so asks for each.
        together: Whether it strikes all components at one time, in one tree.
    """

    code: str
    name: str
    strike: Act
    heal: Act
    seconds: float
    quick: float | None = None
    hang: bool = False
    together: bool = False
    hasty: bool = False

    @property
    def limit(self) -> float:
        """Seconds after the healing by which all has to be well again."""
        if self.together:
            return RECOVERS_WITHIN_IF_ALL_FAIL
        return RECOVERS_WITHIN_AFTER_A_HANG if self.hang else RECOVERS_WITHIN


async def kill(stage: Stage, _: trio.Nursery) -> None:
    stage.server.kill()
    await trio.lowlevel.checkpoint()


async def restart(stage: Stage, _: trio.Nursery) -> None:
    await stage.server.restart()


async def freeze(stage: Stage, _: trio.Nursery) -> None:
    stage.server.freeze()
    await trio.lowlevel.checkpoint()


async def thaw(stage: Stage, _: trio.Nursery) -> None:
    stage.server.thaw()
    await trio.lowlevel.checkpoint()


async def cut_once(stage: Stage, _: trio.Nursery) -> None:
    stage.proxy.reset()
    await trio.lowlevel.checkpoint()


async def cut_again_and_again(stage: Stage, _: trio.Nursery) -> None:
    for _cut in range(20):
        stage.proxy.reset()
        await trio.sleep(stage.random.uniform(0.05, 0.2))


def toxic(*toxics: Bandwidth | BlackHole | Latency | Slicer, on: Direction = Direction.BOTH) -> Act:
    """Put *toxics* on the way."""

    async def strike(stage: Stage, _: trio.Nursery) -> None:
        stage.proxy.set(*toxics, on=on)
        await trio.lowlevel.checkpoint()

    return strike


async def clear(stage: Stage, _: trio.Nursery) -> None:
    await stage.proxy.heal()


def cut_after(counts: range) -> Act:
    """Let the connection end after each number of bytes of replies, one number after the other."""

    async def strike(stage: Stage, _: trio.Nursery) -> None:
        for max_bytes in counts:
            stage.proxy.set()
            accepted = stage.proxy.accepted
            stage.proxy.set(LimitBytes(max_bytes), on=Direction.REPLIES)
            stage.proxy.reset()
            with trio.move_on_after(0.5):
                while stage.proxy.accepted == accepted or stage.proxy.connections:
                    stage.hasten()
                    await trio.sleep(0.01)

    return strike


async def half_close(stage: Stage, _: trio.Nursery) -> None:
    stage.proxy.half_close(Direction.REPLIES)
    await trio.lowlevel.checkpoint()


async def flap(stage: Stage, _: trio.Nursery) -> None:
    for _down in range(5):
        await stage.proxy.refuse()
        stage.proxy.reset()
        await trio.sleep(2)
        await stage.proxy.accept()
        await trio.sleep(2)


async def let_callers_leave(stage: Stage, _: trio.Nursery) -> None:
    stage.patience = lambda: stage.random.choice([0.0, 0.0005, 0.001, 0.003, math.inf])
    await trio.lowlevel.checkpoint()


async def let_callers_stay(stage: Stage, _: trio.Nursery) -> None:
    stage.patience = lambda: math.inf
    await trio.lowlevel.checkpoint()


async def crowd_while_down(stage: Stage, nursery: trio.Nursery) -> None:
    await stage.proxy.refuse()
    stage.proxy.reset()
    await trio.sleep(1)
    await stage.crowd(nursery)


def _of_server(act: Callable[[Stage], Awaitable[None]]) -> Act:
    async def do(stage: Stage, _: trio.Nursery) -> None:
        await act(stage)

    return do


async def exhaust(stage: Stage, nursery: trio.Nursery) -> None:
    await stage.exhaust(nursery)


FAULTS: Final = (
    Fault(code="F1", name="kill -9 of the server", strike=kill, heal=restart, seconds=2, quick=0.3),
    Fault(code="F2", name="SIGSTOP of the server", strike=freeze, heal=thaw, seconds=40, hang=True),
    Fault(code="F3", name="kill the connection (RST)", strike=cut_once, heal=clear, seconds=0, quick=0),
    Fault(code="F3b", name="20 resets in 2.5 s", strike=cut_again_and_again, heal=clear, seconds=0),
    Fault(code="F4", name="black hole", strike=toxic(BlackHole()), heal=clear, seconds=40, hang=True),
    Fault(
        code="F4b",
        name="black hole for replies",
        strike=toxic(BlackHole(), on=Direction.REPLIES),
        heal=clear,
        seconds=20,
        quick=2,
        hang=True,
    ),
    Fault(code="F5", name="2 s more on the way, ±1 s", strike=toxic(Latency(1, 0.5)), heal=clear, seconds=15),
    Fault(code="F6", name="1 KB/s", strike=toxic(Bandwidth(1_000)), heal=clear, seconds=15),
    Fault(code="F7", name="one byte at a time", strike=toxic(Slicer(1)), heal=clear, seconds=5, quick=0.5),
    Fault(
        code="F8",
        name="cut after each of 1 to 512 bytes",
        strike=cut_after(range(1, 513)),
        hasty=True,
        heal=clear,
        seconds=0,
    ),
    Fault(code="F9", name="half-close", strike=half_close, heal=clear, seconds=5),
    Fault(
        code="F11",
        name="login refused",
        strike=_of_server(lambda stage: stage.lock_out()),
        heal=_of_server(lambda stage: stage.let_in()),
        seconds=5,
        quick=0.5,
    ),
    Fault(
        code="F14",
        name="no room for connections",
        strike=_of_server(lambda stage: stage.fill_up()),
        heal=_of_server(lambda stage: stage.make_room()),
        seconds=5,
    ),
    Fault(
        code="F15",
        name="read-only",
        strike=_of_server(lambda stage: stage.demote()),
        heal=_of_server(lambda stage: stage.promote()),
        seconds=10,
    ),
    Fault(
        code="F18",
        name="cancel storm",
        strike=let_callers_leave,
        heal=let_callers_stay,
        seconds=10,
        quick=1,
    ),
    Fault(
        code="F19",
        name="everything taken",
        strike=exhaust,
        heal=_of_server(lambda stage: stage.release()),
        seconds=5,
        quick=1.5,
    ),
    Fault(
        code="F21",
        name="kill -9 of all servers at once",
        strike=kill,
        heal=restart,
        seconds=10,
        quick=0.3,
        together=True,
    ),
    Fault(code="F23", name="2 s up, 2 s down, 5 times", strike=flap, heal=clear, seconds=0),
    Fault(
        code="crowd",
        name="1,000 callers wait when it returns",
        strike=crowd_while_down,
        heal=clear,
        seconds=0.3,
        quick=0.3,
    ),
)

SKIPPED: Final[dict[tuple[str, str], str]] = {
    (
        "F15",
        "auth",
    ): "verifying only reads; what a read-only Redis does to its connection is in the row of Redis",
}
"""(code, component) that is not run, and why."""

ELSEWHERE: Final[dict[str, str]] = {
    "F10 replies twice or out of order": "TCP does not do it, and neither protocol numbers replies, so a server that "
    "lies about their order cannot be told from one that does not; a reply that nobody asked for ends the link: "
    "tests/actors/redis/test_link.py",
    "F12 wrong certificates": "tests/actors/redis/test_tls.py, tests/actors/postgres/test_tls.py",
    "F13 names that no longer resolve": "tests/actors/connection/test_dial.py; each attempt resolves anew",
    "F16 a full disk": "needs a file system of its own to fill up; for the component it is a server that says no",
    "F17 a clock that jumps": "every deadline is on the monotonic clock, which does not",
    "F20 our own process killed": "what it held is gone, what it wrote is not: tests/actors/process, examples/chat",
    "F22 an outage of an hour": "on virtual time: tests/actors/connection/test_long_outages.py, with 10,000 failures "
    "in a row",
}
"""Faults that strike no component here, and why, or where they do."""
