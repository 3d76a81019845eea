"""Asking a running tree: find its socket, send one request, get the answer as data.

socket = find_socket()
tree = await request_tree(socket)
await request_restart(socket, "app/redis")
"""

import os
import socket as sockets
from pathlib import Path
from typing import Final

import msgspec
import trio

from resprout.actors.console.paths import check_private, console_directory, socket_path
from resprout.actors.console.verbs import RESTART_TIMEOUT, Info, Restarted
from resprout.actors.console.wire import (
    MAX_ANSWER_BYTES,
    RequestError,
    Verb,
    decode_answer,
    encode_request,
)
from resprout.runtime.errors import ResproutError
from resprout.runtime.snapshot import Snapshot

__all__ = [
    "CutOffError",
    "NoRuntimeError",
    "RequestError",
    "find_socket",
    "request",
    "request_info",
    "request_restart",
    "request_tree",
    "running",
]

CHUNK_BYTES: Final = 65_536
CONNECT_TIMEOUT: Final = 1.0


class NoRuntimeError(ResproutError):
    """No runtime answers. The message names the socket and what to do next."""


class CutOffError(NoRuntimeError):
    """The runtime took the request and closed the connection before it answered, so it may have been met.

    A restart of the console itself, or of a place that holds it, ends like this.
    """


def find_socket(app: str | None = None, directory: Path | None = None) -> Path:
    """The socket of the running tree *app*; of the only one that runs, if *app* is None.

    Raises:
        NoRuntimeError: None runs, or several do and *app* does not choose.
        ConsolePathError: *app* cannot be a name, or the directory is not ours alone.
    """
    place = directory or console_directory()
    found = running(place)
    if app is not None:
        path = socket_path(app, place)
        if path not in found:
            raise NoRuntimeError(f"no runtime answers at {path}{_hint(found)}")
        return path
    match found:
        case []:
            raise NoRuntimeError(f"no runtime answers in {place}{_hint(found)}")
        case [only]:
            return only
        case _:
            names = ", ".join(path.stem for path in found)
            raise NoRuntimeError(f"several runtimes answer in {place}: {names}; choose one with --app NAME")


def running(directory: Path) -> list[Path]:
    """The sockets in *directory* at which somebody listens, by name.

    Raises:
        ConsolePathError: The directory is not ours alone: who listens there may be anybody.
    """
    if not directory.exists():
        return []
    check_private(directory)
    return [path for path in sorted(directory.glob("*.sock")) if is_live(path)]


def is_live(path: Path) -> bool:
    """Whether somebody listens at *path*. A Unix socket accepts or refuses at once."""
    with sockets.socket(sockets.AF_UNIX) as probe:
        probe.settimeout(CONNECT_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except TimeoutError:
            return True  # Its backlog is full: busy, not dead.
        except OSError:
            return False
        return True


async def request(socket: Path, verb: Verb | str, *, timeout: float = 10.0, **args: object) -> object:
    """Ask the runtime at *socket*, and return what it answers as plain data.

    Args:
        socket: Where it listens; see `find_socket`.
        verb: What to ask.
        timeout: Seconds for all of it.
        **args: The verb's arguments, such as ``path="app/redis"``.

    Raises:
        NoRuntimeError: Nobody answers there, or not in time.
        RequestError: The request cannot be met; its `code` says why.
    """
    data = encode_request(Verb(verb), args)
    try:
        with trio.fail_after(timeout):
            try:
                stream = await trio.open_unix_socket(os.fspath(socket))
            except OSError as error:
                raise NoRuntimeError(f"no runtime answers at {socket} ({error}){_hint([])}") from error
            async with stream:
                line = await _converse(stream, data)
    except trio.TooSlowError:
        raise NoRuntimeError(
            f"the runtime at {socket} did not answer within {timeout:g} s; its loop may be blocked"
        ) from None
    except trio.BrokenResourceError as error:
        raise CutOffError(
            f"the runtime at {socket} closed the connection before it answered ({error});"
            " it may have done what was asked: look with resprout tree"
        ) from error
    return decode_answer(line)


async def request_tree(socket: Path, *, timeout: float = 10.0) -> Snapshot:
    """The running tree; raises as `request` does."""
    return msgspec.convert(await request(socket, Verb.TREE, timeout=timeout), Snapshot)


async def request_info(socket: Path, path: str, *, timeout: float = 10.0) -> Info:
    """All that is known of the place at *path*; raises as `request` does."""
    return msgspec.convert(await request(socket, Verb.INFO, timeout=timeout, path=path), Info)


async def request_restart(socket: Path, path: str, *, timeout: float = 2 * RESTART_TIMEOUT + 10) -> Restarted:
    """Stop the place at *path* in order and start it again; raises as `request` does."""
    return msgspec.convert(await request(socket, Verb.RESTART, timeout=timeout, path=path), Restarted)


async def _converse(stream: trio.SocketStream, data: bytes) -> bytes:
    """Send one line and read one.

    Raises:
        BrokenResourceError: The other side went away first.
    """
    await stream.send_all(data)
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = await stream.receive_some(CHUNK_BYTES)
        if not chunk:
            raise trio.BrokenResourceError("end of the stream")
        line += chunk
        if len(line) > MAX_ANSWER_BYTES:
            raise trio.BrokenResourceError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(line)


def _hint(others: list[Path]) -> str:
    if others:
        return f"; these do: {', '.join(path.stem for path in others)}"
    return "; start one with: resprout run MODULE:TREE (its tree needs a ConsoleServer)"
