"""Recipes: what it takes to run a server, as frozen data. Building one starts and looks up nothing.

Texts may hold ``{data}``, ``{host}``, ``{port}`` and ``{bin}`` (the directory of the program); they are
filled in when the process starts. Other braces stay as they are.
"""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from resprout.actors.process.binaries import POSTGRES, REDIS, Program
from resprout.actors.process.ready import PortOpen, PostgresAnswers, Readiness, RedisAnswers


@attrs.frozen(kw_only=True)
class Prepare:
    """How the data directory is made, once.

    The command writes to ``{data}/<makes>.new``, renamed to ``{data}/<makes>`` when it has succeeded: a start
    that is killed half-way leaves nothing that looks finished. With *template*, that directory is
    copied instead of running the command.
    """

    argv: tuple[str, ...]
    makes: str
    template: Path | None = None
    within: float = 60.0


@attrs.frozen(kw_only=True)
class ServerRecipe:
    """One kind of server process.

    Attributes:
        service: What it is called in messages and events.
        program: How its program is found.
        arguments: What follows the program on its command line.
        ready: How to know that it serves.
        url: What clients connect to.
        prepare: How its data directory is made; None if the server does that itself.
        env: Its environment, added to the parent's if *inherit*, else to PATH and LC_ALL alone: a PGPORT or
            PGDATA of ours must not reach a server.
        cwd: Where it runs.
        drops_root: Whether it runs as another user when we are root (see `users.account`).
        installed: How many directories above the program belong to its installation: what has to be copied
            for a user who cannot reach it where it is.
        stop_signal: Asks for an orderly end. What lives on after *stop_within* seconds is killed.
        start_within: Seconds from its start to its first good answer.
        pid_file: Where it notes its pid, if it does not start while a process of that number exists.
    """

    service: str
    program: Program
    arguments: tuple[str, ...]
    ready: Readiness
    url: str = "tcp://{host}:{port}"
    prepare: Prepare | None = None
    env: Mapping[str, str] = attrs.field(factory=dict)
    inherit: bool = False
    cwd: str = "{data}"
    drops_root: bool = True
    installed: int = 0
    stop_signal: int = signal.SIGTERM
    stop_within: float = 5.0
    start_within: float = 15.0
    pid_file: str | None = None


Fsync = Literal["always", "everysec", "no"]


def redis(*, fsync: Fsync = "always", arguments: Sequence[str] = ()) -> ServerRecipe:
    """Redis or Valkey with an append-only file and no snapshots: what it acknowledged survives ``kill -9``.

    With ``fsync="always"`` it survives a power cut as well, while ``everysec`` may lose a second then.
    *arguments* are appended, so they win.
    """
    return ServerRecipe(
        service="redis",
        program=REDIS,
        arguments=(
            *(
                "--bind",
                "{host}",
                "--port",
                "{port}",
                "--dir",
                "{data}",
                "--daemonize",
                "no",
                "--logfile",
                "",
            ),
            *("--save", "", "--appendonly", "yes", "--appendfsync", fsync),
            *arguments,
        ),
        ready=RedisAnswers(),
        url="redis://{host}:{port}/0",
    )


def postgres(
    *, durable: bool = True, template: Path | None = None, settings: Mapping[str, str] | None = None
) -> ServerRecipe:
    """Postgres with a superuser ``postgres`` and no password, listening on TCP alone.

    ``durable=False`` turns fsync off: a killed server still loses nothing, a power cut may lose everything.
    *template* is a directory made by an earlier initdb of the same version, copied instead of a new initdb.
    """
    chosen = {
        "listen_addresses": "{host}",
        "unix_socket_directories": "",
        "shared_buffers": "16MB",
        "fsync": "on" if durable else "off",
        **(settings or {}),
    }
    return ServerRecipe(
        service="postgres",
        program=POSTGRES,
        arguments=(
            *("-D", "{data}/pgdata", "-p", "{port}"),
            *(text for key, value in chosen.items() for text in ("-c", f"{key}={value}")),
        ),
        ready=PostgresAnswers(),
        url="postgresql://postgres@{host}:{port}/postgres",
        prepare=Prepare(
            argv=(
                *("{bin}/initdb", "-D", "{data}/pgdata.new", "-U", "postgres", "-A", "trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ),
            makes="pgdata",
            template=template,
        ),
        installed=2,  # bin and, beside it, lib and share.
        stop_signal=signal.SIGINT,  # "Fast": ends the sessions, writes a checkpoint, stops.
        start_within=30.0,  # Recovery after a kill replays the write-ahead log first.
        pid_file="{data}/pgdata/postmaster.pid",
    )


def command(
    argv: Sequence[str],
    *,
    service: str = "",
    ready: Readiness | None = None,
    url: str = "http://{host}:{port}",
    env: Mapping[str, str] | None = None,
    cwd: str = "{data}",
    stop_signal: int = signal.SIGTERM,
    stop_within: float = 5.0,
    start_within: float = 15.0,
) -> ServerRecipe:
    """Any server, such as an MCP server over HTTP: ``command(["uvicorn", "app:app", "--port", "{port}"])``.

    It gets our environment and *env*; by default it counts as ready when its port is open.
    """
    program, *arguments = argv
    return ServerRecipe(
        service=service or Path(program).name,
        program=Program(names=(program,)),
        arguments=tuple(arguments),
        ready=PortOpen() if ready is None else ready,
        url=url,
        env=env or {},
        inherit=True,
        cwd=cwd,
        drops_root=False,  # It may well run from our own environment, which another user cannot read.
        stop_signal=stop_signal,
        stop_within=stop_within,
        start_within=start_within,
    )
