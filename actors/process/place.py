"""The directory a server lives in: who holds it, what ran there last, what it said.

::

    place/        ours; other users may pass through, not look
      lock        locked for as long as a parent lives, so that two never run one server
      pid         which process runs there: the next parent kills it if this one could not
      port        where it listened last
      log         what the server printed, and log.1, what it printed before
      data/       the server's own
"""

import fcntl
import json
import os
import shutil
import signal
from pathlib import Path

import attrs
import trio

from resprout.actors.process import procfs
from resprout.actors.process.users import Account, UserError, hand_over, unreachable
from resprout.runtime.errors import ResproutError

_VANISH_WITHIN = 5.0  # Seconds until a killed process must be gone.
_MAX_LOG_BYTES = 4_000_000


class PlaceBusy(ResproutError):
    """Another live program already runs a server in this directory. Give this one a directory of its own."""

    def __init__(self, place: Path) -> None:
        super().__init__(f"{place} is in use by another program; give this server a directory of its own")
        self.place = place


@attrs.define
class Place:
    """One directory, held by us from `hold` to `release`."""

    path: Path
    _lock: int | None = None

    @property
    def data(self) -> Path:
        """The server's own directory."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.path / "log"

    def hold(self, who: Account) -> None:
        """Make the directory if need be, for a server that runs as *who*, and lock it. Idempotent.

        Raises:
            PlaceBusy: A live program holds it. The lock of a dead one is gone with it.
            UserError: *who* cannot get there.
        """
        _make_way(self.path, 0o711 if who.drop else 0o700)
        if self._lock is None:
            self._lock = _lock(self.path)
        try:
            self._make(who)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others have the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make(self, who: Account) -> None:
        self.data.mkdir(exist_ok=True)
        hand_over(self.data, who)
        if (barred := unreachable(self.data, who)) is not None:
            raise UserError(
                f"user {who.name!r} cannot pass through {barred}, so a server that runs as this user cannot "
                f"keep its data in {self.path}; give a directory elsewhere, or user= another name"
            )
        self.trim_log()

    def trim_log(self) -> None:
        """Move a log that has grown too long to log.1; the server goes on writing at its new beginning."""
        if self.log.exists() and self.log.stat().st_size > _MAX_LOG_BYTES:
            shutil.copyfile(self.log, self.path / "log.1")
            os.truncate(self.log, 0)  # It is open for appending, so the next line lands at the start.

    def remember(self, process: procfs.Identity, program: str) -> None:
        """Note which process runs here, in one step that a crash cannot leave half done."""
        record = {
            "pid": process.pid,
            "started": process.started,
            "boot": procfs.boot_id(),
            "program": program,
        }
        fresh = self.path / "pid.new"
        fresh.write_text(json.dumps(record) + "\n")
        fresh.replace(self.path / "pid")

    @property
    def port(self) -> int:
        """Where the server listened last; 0 if it never did."""
        try:
            return int((self.path / "port").read_text())
        except (OSError, ValueError):
            return 0

    @port.setter
    def port(self, value: int) -> None:
        (self.path / "port").write_text(f"{value}\n")

    def forget(self) -> None:
        """Note that nothing runs here."""
        (self.path / "pid").unlink(missing_ok=True)

    async def clear(self, program: str) -> tuple[procfs.Identity, ...]:
        """Kill what an earlier parent, or an earlier life of the server, left here; return what it was.

        Only the recorded process (same boot, pid and start time) with its family, and processes of *program*
        that work inside the data directory. A number in a stale file reaches nobody.

        Raises:
            ResproutError: They do not vanish.
        """
        leftover = self._leftover(program)
        for process in leftover:
            procfs.send(process, signal.SIGKILL)
        with trio.move_on_after(_VANISH_WITHIN, shield=True):
            while any(procfs.alive(process) for process in leftover):  # noqa: ASYNC110 - not our children.
                await trio.sleep(0.01)
            self.forget()
            await trio.lowlevel.checkpoint()
            return leftover
        raise ResproutError(f"{leftover} in {self.path} outlived SIGKILL for {_VANISH_WITHIN:g} s")

    def _leftover(self, program: str) -> tuple[procfs.Identity, ...]:
        group, leader = -1, None
        try:
            record = json.loads((self.path / "pid").read_text())
            if record["boot"] == procfs.boot_id():
                group, leader = record["pid"], procfs.Identity(record["pid"], record["started"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # No file, or not one of ours: what runs inside the data directory is found all the same.
        recorded = procfs.family(group) if leader is not None and procfs.alive(leader) else ()
        return tuple(dict.fromkeys((*recorded, *procfs.strays(self.data.resolve(), program, group))))

    def tail(self, since: int = 0, max_bytes: int = 8192) -> str:
        """The last lines the server printed, not further back than offset *since* of the log."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(since, self.log.stat().st_size - max_bytes))
                return log.read(max_bytes).decode(errors="replace").strip()
        except OSError:
            return ""


def drop_stale_pid_file(path: Path, program: str) -> None:
    """Remove the file in which a server noted its pid, if that number now means somebody else.

    Postgres does not start while a process has the number that its killed predecessor wrote down. That may be
    one that has ended and that nobody reaps, which in a container can last for ever, or a stranger. Is there
    no such process, the file stays: Postgres then looks for more, such as shared memory still in use.
    """
    try:
        info = procfs.inspect(int(path.read_text().partition("\n")[0]))
    except (OSError, ValueError):
        return  # There is none, or it is not ours to judge.
    if info is None:
        return
    runs = None if info.zombie else procfs.program_of(info.identity.pid)
    if runs is None or (runs and Path(runs).name != Path(program).name):
        path.unlink(missing_ok=True)


def _make_way(path: Path, mode: int) -> None:
    """Make *path* and what is missing above it; the permissions of what exists are its maker's business."""
    for missing in [above for above in (*reversed(path.parents), path) if not above.exists()]:
        missing.mkdir(exist_ok=True)
        missing.chmod(mode)  # Whatever the umask says.


def _lock(path: Path) -> int:
    fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise PlaceBusy(path) from error
    return fd
