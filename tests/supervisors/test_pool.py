"""A pool of equal actors: who gets which message, and what a restart leaves in place."""

import subprocess
import sys

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    BY_KEY,
    LEAST_LOADED,
    ChildError,
    Name,
    Pool,
    PoolSupervisor,
    Supervisor,
    TreeError,
    child,
    open_runtime,
    pool,
    supervisor,
)
from resprout.supervisors.routes import least_loaded, partition, round_robin
from tests.supervisors.players import Plan, Player, life

PLAYERS = Pool(Player, "players")
SIZES = st.integers(1, 20)


def tree(plan: Plan | None = None, **options: object) -> object:
    member = child("member", lambda: Player([], plan or Plan()))
    return supervisor("app", pool("players", member, name=PLAYERS, **options))  # type: ignore[arg-type] # test helper


@given(st.integers(), SIZES)
def test_a_whole_number_is_routed_by_its_absolute_value(key: int, size: int) -> None:
    assert (
        partition(key, size) == partition(-key, size) == partition(key + size * (1 if key >= 0 else -1), size)
    )


@given(st.text() | st.binary() | st.integers(), SIZES)
def test_every_key_has_one_member(key: str | bytes | int, size: int) -> None:
    assert partition(key, size) in range(size)
    assert partition(key, size) == partition(key, size)


def test_a_key_has_the_same_member_in_every_process() -> None:
    code = "from resprout.supervisors.routes import partition; print([partition(f'user {n}', 7) for n in range(20)])"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_keys_are_spread_evenly() -> None:
    counts = [0] * 8
    for number in range(8_000):
        counts[partition(f"user-{number}", 8)] += 1
    assert min(counts) > 850
    assert max(counts) < 1_150


@given(st.lists(st.booleans(), min_size=1), st.integers(0, 50))
def test_round_robin_takes_the_next_that_is_up(up: list[bool], turn: int) -> None:
    chosen = round_robin(up, turn)
    assert up[chosen] or not any(up)
    passed = [(turn + step) % len(up) for step in range((chosen - turn) % len(up))]
    assert not any(up[at] for at in passed)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1), st.integers(0, 50))
def test_nobody_who_is_up_has_less_to_do_than_the_least_loaded(
    members: list[tuple[bool, int]], turn: int
) -> None:
    up, loads = [is_up for is_up, _ in members], [load for _, load in members]
    chosen = least_loaded(up, loads, turn)
    assert up[chosen] or not any(up)
    assert all(loads[chosen] <= load for is_up, load in members if is_up == up[chosen])


async def test_messages_without_a_key_go_round() -> None:
    async with open_runtime(tree(size=3)):
        paths = [PLAYERS.next().path for _ in range(4)]
        assert paths == ["app/players/0", "app/players/1", "app/players/2", "app/players/0"]
        await PLAYERS.call(Player.note, "x")
        assert [await member.call(Player.recall) for member in PLAYERS.all()] == [[], ["x"], []]


async def test_the_least_loaded_is_the_one_with_the_fewest_messages_and_none_in_work(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(tree(size=3, route=LEAST_LOADED)):
        first, _, third = PLAYERS.all()
        first.cast(Player.nap, 10)
        third.cast(Player.nap, 10)
        await wait_all_tasks_blocked()
        assert {PLAYERS.next().path for _ in range(4)} == {"app/players/1"}


async def test_a_member_that_restarts_keeps_its_place_and_its_mail(autojump_clock: MockClock) -> None:
    plan = Plan()
    async with open_runtime(tree(plan, size=4, route=BY_KEY)) as runtime:
        mine = PLAYERS.by_key("ann")
        plan.start_takes = 3
        mine.cast(Player.crash)
        mine.cast(Player.note, "meanwhile")
        await trio.sleep(1)
        assert life(runtime, mine.path) == "starting"
        assert PLAYERS.by_key("ann") == mine
        assert await mine.call(Player.recall) == ["meanwhile"]


async def test_a_member_that_is_down_is_passed_over_while_others_run(autojump_clock: MockClock) -> None:
    plan = Plan()
    async with open_runtime(tree(plan, size=2)):
        plan.start_takes = 3
        PLAYERS.all()[0].cast(Player.crash)
        await trio.sleep(1)
        assert {PLAYERS.next().path for _ in range(3)} == {"app/players/1"}


async def test_a_pool_by_key_gives_no_message_to_just_anybody() -> None:
    async with open_runtime(tree(size=2, route=BY_KEY)):
        with pytest.raises(TypeError, match=r"app/players routes by key: use by_key"):
            PLAYERS.next()
        with pytest.raises(TypeError, match=r"must be an int, str or bytes, not 1\.5; use its id"):
            PLAYERS.by_key(1.5)  # type: ignore[arg-type] # wrong on purpose


async def test_a_pool_keeps_its_size() -> None:
    async with open_runtime(tree(size=2)):
        with pytest.raises(ChildError, match="a pool keeps its size"):
            await PLAYERS.name.call(PoolSupervisor.start_child, child("x", lambda: Player([])))
        await PLAYERS.name.call(Supervisor.terminate_child, "1")
        with pytest.raises(ChildError, match="a pool keeps its size"):
            await PLAYERS.name.call(PoolSupervisor.delete_child, "1")
        assert {PLAYERS.next().path for _ in range(3)} == {"app/players/0"}


async def test_members_stop_all_at_once(autojump_clock: MockClock) -> None:
    async with open_runtime(tree(Plan(stop_takes=3), size=4)):
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(3)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"size": 0}, "size must be a whole number"),
        ({"size": 1.5}, "size must be"),
        ({"route": "x"}, "unknown route"),
    ],
)
async def test_a_mistake_is_found_before_anything_starts(options: dict[str, object], why: str) -> None:
    with pytest.raises(TreeError, match=f"app/players: {why}"):
        async with open_runtime(tree(**options)):
            raise AssertionError("it must not start")


async def test_members_cannot_share_a_name() -> None:
    member = child("member", lambda: Player([]), name=Name(Player, "one"))
    with pytest.raises(TreeError, match="give the pool one"):
        async with open_runtime(supervisor("app", pool("players", member, size=2))):
            raise AssertionError("it must not start")
