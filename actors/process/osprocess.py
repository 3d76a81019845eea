"""One process of the operating system in a session of its own: start it, wait for its end, end all of it."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from resprout.actors.process import procfs
from resprout.actors.process.users import Account

_POLL = 0.02  # Seconds between looks where the kernel offers nothing to wait on.
_REAP_WITHIN = 5.0  # Seconds a killed process may take to vanish: only the kernel can still delay it.


class OsProcess:
    """A started process, leader of its own session and group, so that a terminal's Ctrl-C does not reach it.

    Whoever starts it must see its end: `aclose` in every case, also after `wait`.
    """

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid
        info = procfs.inspect(popen.pid)  # Not reaped yet, so it is there, as a zombie at least.
        self.identity = info.identity if info is not None else procfs.Identity(popen.pid, 0)

    @property
    def returncode(self) -> int | None:
        """None while it runs; else its exit code, negative for a signal."""
        return self._popen.returncode

    async def wait(self) -> int:
        """Wait for its end, kill what is left of its group, and return its exit code."""
        await _wait_zombie(self._popen)
        if self._popen.returncode is None:
            # Before reaping: as long as the leader is a zombie its pid, so its group, is surely ours.
            _signal_group(self.pid, signal.SIGKILL)
        return self._popen.wait()

    def family(self) -> tuple[procfs.Identity, ...]:
        """It and everything it has started that can still be found, leader first; empty once it has ended."""
        return procfs.family(self.pid) if self._popen.returncode is None else ()

    def signal(self, number: int) -> bool:
        """Send *number* to the leader alone; False if it has ended."""
        return self._popen.returncode is None and procfs.send(self.identity, number)

    def kill(self) -> None:
        """SIGKILL all of it, at once. `wait` still has to reap it."""
        for _ in range(3):  # A member may fork between our look and the signal.
            members = self.family()
            for member in members:
                procfs.send(member, signal.SIGKILL)
            if not members:
                return

    def freeze(self) -> None:
        """SIGSTOP all of it, the leader first so that it cannot start another."""
        self.signal(signal.SIGSTOP)
        for member in self.family():
            procfs.send(member, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT all of it."""
        for member in reversed(self.family()):
            procfs.send(member, signal.SIGCONT)

    async def stop(self, number: int, within: float) -> None:
        """Ask it to end with signal *number*; kill all of it after *within* seconds, or when cancelled."""
        try:
            self.signal(number)
            self.thaw()  # A stopped process takes no signal but SIGKILL.
            with trio.move_on_after(within):
                await self.wait()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Kill what is still there and reap it. Idempotent; not cut short by cancellation."""
        self.kill()
        with trio.move_on_after(_REAP_WITHIN, shield=True):
            await self.wait()


def spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, who: Account) -> OsProcess:
    """Start *argv*; its output is appended to *log*.

    Blocks for the fork (about a millisecond) in the calling thread, on purpose: the kernel ends the process
    when the *thread* that started it dies, and trio's worker threads, which `trio.lowlevel.open_process`
    uses, die when idle. That signal is an extra; the promise that nothing stays behind is the pid file's.

    Raises:
        OSError: The program cannot be run.
    """
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [*_dies_with_us(), *argv],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=who.uid if who.drop else None,
            group=who.gid if who.drop else None,
            extra_groups=[] if who.drop else None,
        )
    return OsProcess(popen)


@functools.cache
def _dies_with_us() -> tuple[str, ...]:
    """A prefix that asks the kernel to kill the process when we die, where util-linux offers one.

    It must come after the change of user, which clears that wish; setpriv runs as the new user.
    """
    setpriv = shutil.which("setpriv")
    prefix = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
    try:
        tried = subprocess.run([*prefix, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return prefix if tried.returncode == 0 else ()


async def _wait_zombie(popen: subprocess.Popen[bytes]) -> None:
    """Return when the process has ended, without reaping it where possible."""
    try:
        fd = os.pidfd_open(popen.pid) if popen.returncode is None else -1
    except OSError:  # An old kernel; or reaped by somebody else, which poll() then finds out.
        while popen.poll() is None:  # noqa: ASYNC110 - there is nothing to wait on.
            await trio.sleep(_POLL)
        return
    if fd < 0:
        await trio.lowlevel.checkpoint()
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
