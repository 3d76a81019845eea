"""Monitors and links: each told once, in order, and taken back alone. OTP's statements 64 to 67."""

from collections.abc import Callable

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from resprout import (
    TEMPORARY,
    TRANSIENT,
    Actor,
    Down,
    ExitReason,
    Killed,
    LinkedExit,
    Name,
    Normal,
    PeerExit,
    Ref,
    Shutdown,
    Signal,
    child,
    open_runtime,
    supervisor,
)


@attrs.define
class Peer(Actor):
    told: list[str] = attrs.field(factory=list)
    ends: list[Callable[[], None]] = attrs.field(factory=list)

    async def watch(self, name: Name["Peer"]) -> None:
        self.ends.append(self.context.monitor(name))

    async def unwatch(self, number: int) -> None:
        self.ends[number]()

    async def unwatch_after_its_end(self, name: Name["Peer"]) -> None:
        """Two monitors; the other actor ends; one is taken back before either notice was read."""
        first, _ = self.context.monitor(name), self.context.monitor(name)
        name._find().kill()
        await wait_all_tasks_blocked()
        first()

    async def on_signal(self, signal: Signal) -> None:
        assert isinstance(signal, Down)
        self.told.append(f"{signal.ref.path}: {signal.reason}")

    async def tie(self, name: Name["Peer"]) -> None:
        self.context.link(name)

    async def finish(self, reason: ExitReason) -> None:
        self.context.stop(reason)

    async def crash(self) -> None:
        raise ValueError("boom")

    async def recall(self) -> list[str]:
        return list(self.told)


A, B, C = (Name(Peer, id) for id in "abc")


def three(**options: object) -> object:
    return supervisor("app", *(child(n.key, Peer, name=n, **options) for n in (A, B, C)), intensity=9)  # type: ignore[arg-type] # test helper


async def test_n_monitors_give_n_notices_and_one_taken_back_gives_one_less() -> None:
    async with open_runtime(three(restart=TEMPORARY)):
        for _ in range(3):
            await A.call(Peer.watch, B)
        await A.call(Peer.unwatch, 1)
        B.cast(Peer.finish, Normal())
        await wait_all_tasks_blocked()
        assert await A.call(Peer.recall) == ["app/b: normal"] * 2


async def test_a_notice_that_waits_unread_is_taken_back_and_no_other_ones() -> None:
    async with open_runtime(three()):
        await A.call(Peer.unwatch_after_its_end, B)
        assert await A.call(Peer.recall) == ["app/b: killed"]


async def test_a_monitor_of_a_place_that_is_down_tells_at_once() -> None:
    async with open_runtime(three(restart=TRANSIENT)):
        b = B._find()
        B.cast(Peer.finish, Shutdown("enough"))
        await wait_all_tasks_blocked()
        ref: Ref[Peer] = Ref(b)
        watcher = A._find().incarnation
        assert watcher is not None
        assert watcher.actor is not None
        watcher.actor.context.monitor(ref)
        assert await A.call(Peer.recall) == ["app/b: shutdown: enough"]


async def test_notices_come_in_the_order_of_the_ends() -> None:
    async with open_runtime(three(restart=TEMPORARY)):
        for name in (B, C):
            await A.call(Peer.watch, name)
        for name in (C, B):
            name.cast(Peer.finish, Normal())
            await wait_all_tasks_blocked()
        assert await A.call(Peer.recall) == ["app/c: normal", "app/b: normal"]


async def test_monitors_end_with_the_incarnation_that_set_them() -> None:
    async with open_runtime(three()):
        await A.call(Peer.watch, B)
        A.cast(Peer.crash)
        await wait_all_tasks_blocked()
        B.cast(Peer.crash)
        await wait_all_tasks_blocked()
        assert await A.call(Peer.recall) == []
        assert not B._find().monitors.watchers


async def test_a_normal_end_does_not_touch_a_linked_peer() -> None:
    async with open_runtime(three(restart=TEMPORARY)) as runtime:
        await A.call(Peer.tie, B)
        B.cast(Peer.finish, Normal())
        await wait_all_tasks_blocked()
        assert [place.id for place in runtime.snapshot().children] == ["a", "c"]


async def test_a_stop_stops_a_linked_peer_in_order_and_is_nobodys_crash() -> None:
    async with open_runtime(three(restart=TRANSIENT)) as runtime:
        await A.call(Peer.tie, B)
        B.cast(Peer.finish, Shutdown("enough"))
        await wait_all_tasks_blocked()
        first = runtime.snapshot().children[0]
        assert first.life == "stopped"
        assert first.last_exit == "shutdown: app/b, which it is linked to, was stopped"


async def test_a_kill_crashes_a_linked_peer_and_the_link_is_gone_with_it() -> None:
    async with open_runtime(three()) as runtime:
        await A.call(Peer.tie, B)
        await A.call(Peer.tie, B)  # Twice is once.
        B._find().kill()
        await wait_all_tasks_blocked()
        first = runtime.snapshot().children[0]
        assert first.restarts == 1
        assert first.last_exit is not None
        assert "LinkedExit" in first.last_exit
        B._find().kill()
        await wait_all_tasks_blocked()
        assert runtime.snapshot().children[0].restarts == 1


async def test_linked_children_crash_no_report_on_an_orderly_stop() -> None:
    reasons: list[ExitReason] = []
    async with open_runtime(three()) as runtime:
        runtime.events.subscribe(lambda event: reasons.append(getattr(event, "reason", Normal())))
        for first, second in ((A, B), (B, C), (A, C)):
            await first.call(Peer.tie, second)
    assert {type(reason) for reason in reasons} == {Shutdown}


async def test_a_link_to_what_is_down_crashes_with_its_reason() -> None:
    async with open_runtime(three(restart=TRANSIENT)) as runtime:
        ref: Ref[Peer] = Ref(B._find())
        B.cast(Peer.finish, Normal())
        await wait_all_tasks_blocked()
        a = runtime.ref("app/a").instance
        assert isinstance(a, Peer)
        with pytest.raises(LinkedExit, match=r"app/b, .* ended: normal"):
            a.context.link(ref)


async def test_a_brutal_end_is_killed_to_watchers_too() -> None:
    async with open_runtime(three()):
        await A.call(Peer.watch, B)
        B._find().kill("by hand")
        await wait_all_tasks_blocked()
        assert await A.call(Peer.recall) == [f"app/b: {Killed('by hand')}"]


@attrs.define
class Trapper(Peer):
    """Learns of its peers' ends, and lives on."""

    async def on_start(self) -> None:
        self.context.trap_exits()

    async def on_signal(self, signal: Signal) -> None:
        assert isinstance(signal, PeerExit)
        self.told.append(f"{signal.ref.path}: {signal.reason}")

    async def untie(self, name: Name[Peer]) -> None:
        self.context.unlink(name)

    async def tie_and_untie_after_its_end(self, name: Name[Peer]) -> None:
        self.context.link(name)
        name._find().kill()
        await wait_all_tasks_blocked()
        self.context.unlink(name)


TRAPPER = Name(Trapper, "trapper")


def trapper_and_peer() -> object:
    return supervisor("app", child("trapper", Trapper, name=TRAPPER), child("b", Peer, name=B), intensity=9)


@pytest.mark.parametrize("reason", [Normal(), Shutdown("enough"), Killed("by hand")])
async def test_an_actor_that_traps_exits_learns_of_every_end_and_lives_on(reason: ExitReason) -> None:
    async with open_runtime(trapper_and_peer()) as runtime:
        await TRAPPER.call(Trapper.tie, B)
        if isinstance(reason, Killed):
            B._find().kill("by hand")
        else:
            B.cast(Peer.finish, reason)
        await wait_all_tasks_blocked()
        assert await TRAPPER.call(Peer.recall) == [f"app/b: {reason}"]
        assert runtime.snapshot().children[0].generation == 1


async def test_a_kill_cannot_be_trapped_and_the_successor_traps_only_if_it_says_so() -> None:
    async with open_runtime(trapper_and_peer()) as runtime:
        await TRAPPER.call(Trapper.tie, B)
        TRAPPER._find().kill()
        await wait_all_tasks_blocked()
        assert [place.generation for place in runtime.snapshot().children] == [2, 2]  # B does not trap.


async def test_after_an_unlink_nothing_of_the_peer_arrives_not_even_what_waits_unread() -> None:
    async with open_runtime(trapper_and_peer()) as runtime:
        await TRAPPER.call(Trapper.tie, B)
        await TRAPPER.call(Trapper.untie, B)
        B._find().kill()
        await wait_all_tasks_blocked()
        await TRAPPER.call(Trapper.tie_and_untie_after_its_end, B)
        assert await TRAPPER.call(Peer.recall) == []
        TRAPPER._find().kill()
        await wait_all_tasks_blocked()
        assert runtime.snapshot().children[1].generation == 3  # Only its own two kills.
