"""As whom servers run, and how a program gets to a user who cannot reach it."""

import os
from pathlib import Path

import pytest

from resprout.actors.process import UserError, users
from resprout.actors.process.installation import reachable

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
only_plain = pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")


@only_root
def test_root_becomes_nobody_by_default_and_stays_itself_on_request() -> None:
    assert (users.account().name, users.account().drop) == ("nobody", True)
    assert (users.account("root").uid, users.account("root").drop) == (0, False)


@only_plain
def test_a_plain_user_stays_itself_and_cannot_become_another() -> None:
    assert (users.account().uid, users.account().drop) == (os.geteuid(), False)
    with pytest.raises(UserError, match="only root"):
        users.account("root")


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(UserError, match="no user 'nosuchuser'"):
        users.account("nosuchuser")


@only_root
async def test_an_unreachable_program_is_copied_with_its_installation(
    passable_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, cache = passable_tmp_path / "home", passable_tmp_path / "cache"
    program = home / "pg" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    (home / "pg" / "share").mkdir()
    (home / "pg.libs").mkdir()  # As wheels have it, found from the program by a relative path.
    home.chmod(0o700)
    cache.mkdir()
    cache.chmod(0o755)
    monkeypatch.setattr("tempfile.tempdir", str(cache))
    who = users.account()
    copy = await reachable(program, 2, who)
    assert users.unreachable(copy, who) is None
    assert copy.read_text() == "#!/bin/sh\n"
    assert (copy.parents[1] / "share").is_dir()
    assert (copy.parents[2] / "pg.libs").is_dir()
    assert await reachable(program, 2, who) == copy
    assert await reachable(copy, 2, who) == copy
    single = home / "valkey-server"
    single.write_text("alone")
    assert (await reachable(single, 0, who)).read_text() == "alone"
