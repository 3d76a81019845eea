"""A server's directory has one holder, and what an earlier one left running there is killed, nothing else."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resprout.actors.process import PlaceBusy, UserError, procfs, users
from resprout.actors.process.place import Place

pytestmark = pytest.mark.real
Aside = Callable[[str, Path], subprocess.Popen[bytes]]
SLEEP = str(Path("/bin/sleep").resolve())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "server")
    made.hold(users.ourselves())
    yield made
    made.release()


@pytest.fixture
def aside() -> Iterator[Aside]:
    """Starts processes that are not the server's parent's business."""
    started: list[subprocess.Popen[bytes]] = []

    def start(argv: str, cwd: Path) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(argv.split(), cwd=cwd, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def identity(process: subprocess.Popen[bytes]) -> procfs.Identity:
    info = procfs.inspect(process.pid)
    assert info is not None
    return info.identity


def test_two_cannot_hold_one_directory(place: Place) -> None:
    with pytest.raises(PlaceBusy, match="in use by another program"):
        Place(place.path).hold(users.ourselves())
    place.release()
    second = Place(place.path)
    second.hold(users.ourselves())
    second.release()


async def test_the_recorded_process_is_killed(place: Place, aside: Aside) -> None:
    process = aside("sleep 60", Path("/"))
    left = identity(process)
    place.remember(left, "/none")
    assert await place.clear("/none") == (left,)
    assert process.wait(5) == -9
    assert await place.clear("/none") == ()


@pytest.mark.parametrize("wrong", ["started", "boot"])
async def test_a_stale_record_kills_nobody(place: Place, aside: Aside, wrong: str) -> None:
    process = aside("sleep 60", Path("/"))
    place.remember(identity(process), "/none")
    record = json.loads((place.path / "pid").read_text())
    (place.path / "pid").write_text(json.dumps({**record, wrong: 1}))
    assert await place.clear("/none") == ()
    assert process.poll() is None


async def test_a_broken_record_stops_nothing(place: Place) -> None:
    (place.path / "pid").write_text('{"pid": ')
    assert await place.clear("/none") == ()
    assert not (place.path / "pid").exists()


async def test_the_servers_program_inside_its_directory_is_killed_and_a_visitor_is_not(
    place: Place, aside: Aside
) -> None:
    worker, visitor = aside("sleep 60", place.data), aside("tail -f /dev/null", place.data)
    elsewhere = aside("sleep 60", Path("/"))
    assert await place.clear(SLEEP) == (identity(worker),)
    assert (visitor.poll(), elsewhere.poll()) == (None, None)


def test_the_tail_begins_where_this_run_began(place: Place) -> None:
    place.log.write_text("old\n")
    since = place.log.stat().st_size
    with place.log.open("a") as log:
        log.write("x" * 10_000 + "\nlast words\n")
    assert "old" not in place.tail(since)
    assert place.tail(since).endswith("last words")
    assert len(place.tail(since)) <= 8192


def test_a_log_that_grew_too_long_is_moved_aside(place: Place) -> None:
    with place.log.open("ab") as server:
        server.write(b"x" * 4_000_001)
        server.flush()
        place.trim_log()
        server.write(b"new")
    assert place.log.read_bytes() == b"new"
    assert (place.path / "log.1").stat().st_size == 4_000_001


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as somebody else")
def test_the_way_to_a_new_directory_is_free_and_what_existed_stays_as_it_was(reachable_path: Path) -> None:
    mode, umask = reachable_path.stat().st_mode, os.umask(0o077)
    try:
        place = Place(reachable_path / "servers" / "redis")
        place.hold(users.account())
    finally:
        os.umask(umask)
    assert users.unreachable(place.data, users.account()) is None
    assert reachable_path.stat().st_mode == mode
    place.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as somebody else")
def test_a_directory_the_other_user_cannot_reach_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    place = Place(tmp_path / "home" / "server")
    with pytest.raises(UserError, match=r"'nobody' cannot pass through .*; give a directory elsewhere"):
        place.hold(users.account())
    Place(place.path).hold(users.ourselves())  # The lock is free again.
