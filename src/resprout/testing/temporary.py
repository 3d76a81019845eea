"""Temporary directories of test servers. Those of a killed test run are cleared away by the next one."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import trio

from resprout.actors.process import users
from resprout.actors.process.place import Place
from resprout.runtime.errors import ResproutError

_PREFIX = "resprout-test-"
_GRACE = 60.0  # Seconds between the making of a directory and the lock on it, at the very most.
_swept = False


async def make(what: str) -> Path:
    """Make a directory for one server; other users may pass through, for the server may be one of them."""
    await _sweep_once()
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{what}-"))
    path.chmod(0o711)
    return path


async def sweep(folder: Path, older_than: float = _GRACE) -> list[Path]:
    """Remove directories below *folder* whose test run is gone, with the servers that run there; return them.

    A live test run holds a lock in each of its directories.
    """
    removed = []
    for path in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ResproutError):
            status = path.lstat()
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > older_than:
                await _remove(path)
                removed.append(path)
    await trio.lowlevel.checkpoint()
    return removed


async def _remove(path: Path) -> None:
    place = Place(path)
    place.hold(users.ourselves())
    try:
        await place.clear("")
        await trio.to_thread.run_sync(shutil.rmtree, path, True)
    finally:
        place.release()


async def _sweep_once() -> None:
    global _swept
    if not _swept:
        _swept = True
        await sweep(Path(tempfile.gettempdir()))
    await trio.lowlevel.checkpoint()
