"""What /proc knows about processes, and signals that cannot reach the wrong one.

A pid alone names nothing for long: the kernel uses it again. A pid with its start time does.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import attrs


@attrs.frozen
class Identity:
    """One process for as long as this machine runs: its pid and its start time in ticks since boot."""

    pid: int
    started: int


@attrs.frozen
class ProcessInfo:
    """One line of /proc: who it is, whose child, in which process group; *zombie* means it has ended."""

    identity: Identity
    parent: int
    group: int
    zombie: bool


def boot_id() -> str:
    """A value that changes with every boot; start times of two boots cannot be compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def inspect(pid: int) -> ProcessInfo | None:
    """What /proc says about *pid* now; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in brackets and may hold blanks and brackets itself.
    state, parent, group, *rest = text.rpartition(")")[2].split()
    return ProcessInfo(Identity(pid, int(rest[16])), int(parent), int(group), zombie=state in "ZX")


def everyone() -> Iterator[ProcessInfo]:
    """Every process we can see."""
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (info := inspect(int(entry))) is not None:
            yield info


def family(leader: int) -> tuple[Identity, ...]:
    """*leader*, its process group and all its descendants, leader first; ended ones left out.

    Both are needed: Postgres gives each of its processes a group of its own, and a shell's child whose
    parent has ended is found by its group alone.
    """
    infos = {info.identity.pid: info for info in everyone()}
    members = {pid for pid, info in infos.items() if pid == leader or info.group == leader}
    while grown := {pid for pid, info in infos.items() if info.parent in members} - members:
        members |= grown
    ordered = sorted(members, key=lambda pid: pid != leader)
    return tuple(infos[pid].identity for pid in ordered if not infos[pid].zombie)


def strays(home: Path, program: str, group: int) -> tuple[Identity, ...]:
    """Processes which work below *home* and belong to the server whose leader may be gone.

    They run *program* or are still in process group *group*: a user's shell in that directory is neither.
    """
    found = []
    for info in everyone():
        try:
            here = os.readlink(f"/proc/{info.identity.pid}/cwd")
        except OSError:  # Ended, or another user's: not ours to touch.
            continue
        if Path(here).is_relative_to(home) and (
            info.group == group or program_of(info.identity.pid) in (program, None)
        ):
            found.append(info.identity)
    return tuple(found)


def program_of(pid: int) -> str | None:
    """What *pid* runs; None while it is ending: it has no program any more, but still holds files and shares."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def alive(identity: Identity) -> bool:
    """True while exactly this process runs; one that has ended and waits to be reaped does not."""
    info = inspect(identity.pid)
    return info is not None and info.identity == identity and not info.zombie


def send(identity: Identity, number: int) -> bool:
    """Send a signal to exactly this process; False if it has ended.

    The pidfd is opened first and the start time compared after: from then on the pid cannot change hands.

    Raises:
        PermissionError: The process belongs to somebody else.
    """
    try:
        fd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(identity):
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True
