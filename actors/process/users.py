"""As whom a server runs: root drops to another user, for Postgres refuses to run as root."""

import grp
import os
import pwd
import stat
from pathlib import Path

import attrs

from resprout.runtime.errors import ResproutError

DEFAULT_USER = "nobody"


class UserError(ResproutError):
    """The server cannot run as the wanted user. The message says what to change."""


@attrs.frozen
class Account:
    """A user of this machine, as numbers; *drop* is False if we are that user already."""

    name: str
    uid: int
    gid: int
    drop: bool


def account(name: str | None = None) -> Account:
    """The user a server runs as: *name*, by default ourselves, or ``nobody`` when we are root.

    Raises:
        UserError: There is no such user, or we are not root and may not become it.
    """
    uid = os.geteuid()
    wanted = name or (DEFAULT_USER if uid == 0 else None)
    if wanted is None:
        return ourselves()
    try:
        entry = pwd.getpwnam(wanted)
    except KeyError:
        raise UserError(f"there is no user {wanted!r} on this machine; give user= another name") from None
    if entry.pw_uid == uid:
        return Account(wanted, uid, os.getegid(), drop=False)
    if uid != 0:
        raise UserError(f"only root can start a server as {wanted!r}; leave user= out")
    return Account(wanted, entry.pw_uid, entry.pw_gid, drop=True)


def ourselves() -> Account:
    """The user we are, root included."""
    return Account(_name_of(os.geteuid()), os.geteuid(), os.getegid(), drop=False)


def hand_over(path: Path, who: Account) -> None:
    """Give *path* to *who*, for that user alone (mode 0700)."""
    if who.drop:
        os.chown(path, who.uid, who.gid)
    path.chmod(0o700)


def unreachable(path: Path, who: Account) -> Path | None:
    """The first directory above *path* which *who* may not pass through; None if the way is free."""
    if not who.drop or who.uid == 0:
        return None
    groups = {who.gid, *(group.gr_gid for group in grp.getgrall() if who.name in group.gr_mem)}
    return next(
        (above for above in reversed(path.parents) if not _may_pass(above.stat(), who.uid, groups)), None
    )


def _may_pass(status: os.stat_result, uid: int, groups: set[int]) -> bool:
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
