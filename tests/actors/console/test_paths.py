"""Where consoles listen."""

import os
from pathlib import Path

import pytest

from resprout.actors.console.paths import (
    ConsolePathError,
    check_private,
    console_directory,
    make_private,
    socket_path,
)


def test_the_directory_is_the_users_own() -> None:
    uid = os.getuid()
    assert console_directory({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path(f"/run/user/7/resprout-{uid}")
    assert console_directory({}) == Path(f"/tmp/resprout-{uid}")
    assert console_directory({"XDG_RUNTIME_DIR": ""}) == Path(f"/tmp/resprout-{uid}")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../evil", ".hidden", "a\0b", "x" * 65, "café"])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConsolePathError, match="cannot name a console"):
        socket_path(name, tmp_path)


def test_a_path_too_long_for_a_socket_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConsolePathError, match="XDG_RUNTIME_DIR"):
        socket_path("app", tmp_path / ("x" * 120))


def test_a_directory_is_made_private(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    make_private(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    make_private(directory)


def test_a_directory_others_may_enter_is_refused_with_the_fix(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConsolePathError, match="chmod 700"):
        check_private(tmp_path)


def test_a_link_to_somewhere_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConsolePathError, match="not a directory"):
        check_private(tmp_path / "link")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a directory of another user")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 65534, 65534)
    with pytest.raises(ConsolePathError, match="belongs to user 65534"):
        check_private(tmp_path / "theirs")
