"""Connected sockets that notice a dead peer: the kernel's defaults would wait for hours."""

from __future__ import annotations

import os
import socket

import trio

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES = 30, 5, 3  # Seconds, seconds, count.
USER_TIMEOUT_MS = 20_000  # Sent bytes that stay unacknowledged this long end the connection.


async def open_tcp(host: str, port: int) -> socket.socket:
    """Look *host* up anew, try its addresses, and hand over a non-blocking socket.

    Raises:
        OSError: If no address answered.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise _plain(error) from error
    sock = _take(stream.socket)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        if hasattr(socket, name):  # Linux has all of them, others some.
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock


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


def _plain(error: OSError) -> OSError:
    """What the last address answered, instead of trio's summary with a group behind it."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[-1]
    return cause if isinstance(cause, OSError) else error
