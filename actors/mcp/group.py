"""A child process with all that it started, as one thing that can be ended for certain.

The child leads a process group of its own. Signals go to the whole group, and never to a stranger: they are
sent only while the leader runs or is dead but not yet reaped, for until then the kernel gives its number to
nobody else.
"""

import contextlib
import os
import signal
import sys
from typing import Final

import trio

# How long a kernel may take to end a killed process before we go on without it.
REAP: Final = 2.0


class ProcessGroup:
    """The group led by *leader*, a process started with ``start_new_session=True``.

    Only this class may look at the leader's return code: to look is to reap.
    """

    def __init__(self, leader: trio.Process) -> None:
        self._leader, self._reaped = leader, False
        self._ended = trio.Lock()

    async def wait(self) -> int:
        """Wait until the leader has ended, kill what is left of its group, and return its exit code."""
        async with self._ended:
            if not self._reaped:
                await _wait_without_reaping(self._leader.pid)
                self.signal(signal.SIGKILL)
                self._reaped = True
        return await self._leader.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send *number* to the whole group; nothing happens if it has ended."""
        if not self._reaped:
            # EPERM: a member has become another user. The leader is our child, so it does get the signal.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._leader.pid, number)

    async def end(self, grace: float) -> None:
        """End the group: wait *grace* seconds in all for its own end and for SIGTERM to work, then kill it.

        Safe under cancellation, and bounded by *grace* and what the kernel needs.
        """
        with trio.CancelScope(shield=True):
            for polite in (None, signal.SIGTERM):
                if polite is not None:
                    self.signal(polite)
                with trio.move_on_after(grace / 2):
                    await self.wait()
                    return
            self.signal(signal.SIGKILL)
            with trio.move_on_after(REAP):
                await self.wait()


async def _wait_without_reaping(pid: int) -> None:
    """Return once child *pid* has ended, leaving it a zombie whose number is still taken."""
    if sys.platform == "linux":
        descriptor = os.pidfd_open(pid)
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)
    else:
        await trio.to_thread.run_sync(
            os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT, abandon_on_cancel=True
        )


def how_it_ended(code: int) -> str:
    """A return code in words.

    >>> how_it_ended(3), how_it_ended(-9)
    ('exited with code 3', 'was ended by SIGKILL')
    """
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
