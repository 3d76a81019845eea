"""The console's socket: one owner at a time, for this user alone, and never in the way of the next start.

A lock on a file beside the socket says who owns the name. The kernel drops it with the process, however that
ends, so a socket without a lock is stale and is replaced.
"""

import fcntl
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from resprout.actors.console.paths import make_private, socket_path
from resprout.runtime.errors import ResproutError

BACKLOG: Final = 16


class ConsoleTakenError(ResproutError):
    """Another running tree has a console of this name."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"another runtime listens at {path}; stop it, or give this one ConsoleServer(app=…)")
        self.path = path


@asynccontextmanager
async def listening(app: str, directory: Path) -> AsyncIterator[tuple[Path, trio.SocketListener]]:
    """Listen as *app* in *directory* for as long as the block lasts; nothing but an empty lock file stays.

    Raises:
        ConsoleTakenError: Another runtime has this name.
        ConsolePathError: The directory cannot be made, or is not ours alone; or *app* is no name.
        OSError: The socket cannot be made.
    """
    make_private(directory)
    path = socket_path(app, directory)
    with open(path.with_suffix(".lock"), "w") as lock:  # noqa: ASYNC230 - a local file, and no bytes.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConsoleTakenError(path) from None
        path.unlink(missing_ok=True)  # Nobody holds the lock, so nobody listens there.
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            await listener.bind(os.fspath(path))
            try:
                path.chmod(0o600)
                listener.listen(BACKLOG)
                yield path, trio.SocketListener(listener)
            finally:
                path.unlink(missing_ok=True)


def is_allowed(stream: trio.SocketStream) -> bool:
    """Whether the process at the other end runs as us, or as root. The directory keeps others out already."""
    if sys.platform != "linux":
        return True
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack(
        "3i", stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return uid in (os.getuid(), 0)
