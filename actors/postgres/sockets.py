"""Plain connected sockets, for asyncpg's protocol on a loop of our own."""

from __future__ import annotations

import os
import socket

import trio

from resprout.actors.connection.dial import dial


async def open_tcp(host: str, port: int) -> socket.socket:
    """Look *host* up anew, try its addresses, and hand over a non-blocking socket.

    Raises:
        OSError: If no address answered.
    """
    return _take((await dial(host, port)).socket)


async def open_unix(path: str | os.PathLike[str]) -> socket.socket:
    """Connect to the Unix socket at *path*.

    Raises:
        OSError: If nobody listens there.
    """
    return _take((await trio.open_unix_socket(os.fspath(path))).socket)


def _take(sock: trio.socket.SocketType) -> socket.socket:
    """The plain socket below trio's, still non-blocking; trio's own is left empty."""
    plain = socket.socket(fileno=sock.detach())
    plain.setblocking(False)
    return plain
