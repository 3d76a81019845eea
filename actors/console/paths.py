"""Where consoles listen, and how that place is kept private.

``${XDG_RUNTIME_DIR:-/tmp}/resprout-<uid>/<app>.sock``. In a directory that all users may write, somebody else
could have made ours first: so it is used only if it is a directory, is ours, and closed to all others.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from resprout.runtime.errors import ResproutError

# A path longer than this is no address of a Unix socket on Linux.
MAX_SOCKET_PATH_BYTES: Final = 107

APP_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class ConsolePathError(ResproutError):
    """The console's directory or socket cannot be used safely. The message says what to change."""


def console_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory of this user's consoles; it may not exist yet."""
    return Path(environment.get("XDG_RUNTIME_DIR") or "/tmp") / f"resprout-{os.getuid()}"


def socket_path(app: str, directory: Path | None = None) -> Path:
    """Where the console of *app* listens.

    Raises:
        ConsolePathError: *app* cannot be the name of a file, or the path is too long for a socket.
    """
    if not APP_NAME.fullmatch(app):
        raise ConsolePathError(f"{app!r} cannot name a console; use letters, digits, '_', '-' and '.'")
    path = (directory or console_directory()) / f"{app}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise ConsolePathError(f"{path} is too long for a socket; set XDG_RUNTIME_DIR to a shorter directory")
    return path


def make_private(directory: Path) -> None:
    """Make *directory*, or see that it is ours alone.

    Raises:
        ConsolePathError: It is not a directory, belongs to another user, or others may enter.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConsolePathError(f"cannot make {directory}: {error}") from error
    check_private(directory)


def check_private(directory: Path) -> None:
    """See that *directory* is ours alone; raises as `make_private` does."""
    try:
        found = directory.lstat()
    except OSError as error:
        raise ConsolePathError(f"cannot look at {directory}: {error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise ConsolePathError(f"{directory} is not a directory; remove it")
    if found.st_uid != os.getuid():
        raise ConsolePathError(f"{directory} belongs to user {found.st_uid}; set XDG_RUNTIME_DIR to your own")
    if found.st_mode & 0o077:
        raise ConsolePathError(f"others may enter {directory}; run: chmod 700 {directory}")
