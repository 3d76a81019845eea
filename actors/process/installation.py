"""Brings a program to a user who cannot reach it where it is installed, such as below root's home."""

import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import trio

from resprout.actors.process.users import Account, UserError, unreachable


async def reachable(program: Path, levels: int, who: Account) -> Path:
    """Return a path of *program* that *who* can run: its own, or that of a copy.

    With *levels* > 0 the directory that many levels up is copied, as the program finds its files beside it.
    The copy is made once per installation and belongs to us, so that no other user can change what runs.

    Raises:
        UserError: The place of the copy is not ours.
    """
    if unreachable(program, who) is None:
        await trio.lowlevel.checkpoint()
        return program
    return await trio.to_thread.run_sync(_copied, program, levels)


def _copied(program: Path, levels: int) -> Path:
    root, beside = _installation(program, levels)
    version = sha256(f"{root}:{program.stat().st_mtime_ns}:{program.stat().st_size}".encode()).hexdigest()[
        :16
    ]
    home = Path(tempfile.gettempdir(), f"resprout-programs-{os.geteuid()}")
    home.mkdir(mode=0o755, exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != os.geteuid() or home.stat().st_mode & 0o022:
        raise UserError(f"{home} does not belong to us alone; remove it")
    target = home / version
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(dir=home))
        fresh.chmod(0o755)
        for part in (root, *beside):
            if part.is_dir():
                shutil.copytree(part, fresh / part.name, symlinks=True)
            else:
                shutil.copy2(part, fresh / part.name)
        try:
            fresh.rename(target)
        except OSError:  # Somebody was faster, with the same content.
            shutil.rmtree(fresh)
    return target / root.name / program.relative_to(root)


def _installation(program: Path, levels: int) -> tuple[Path, tuple[Path, ...]]:
    """What to copy: the root, and the libraries that a wheel keeps in ``<package>.libs`` beside the package."""
    root = program.parents[levels - 1] if levels else program
    for package in (root, *root.parents[:-1]):
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            return package, (libraries,)
    return root, ()
