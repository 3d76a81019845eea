"""Sockets to a remote that notice a dead peer: the kernel's defaults would wait for hours.

Every connection opens its sockets here. The name is looked up anew each time, since a failover may have moved it,
and all its addresses are tried, the next one 0.25 s after the last if that has not answered.
"""

import os
import socket
import ssl
from typing import Final

import trio

from resprout.runtime.classify import leaves

# An idle connection to a peer that vanished ends after 30 + 3 * 5 s, one with data under way after 20 s.
KEEPALIVE_IDLE: Final = 30
KEEPALIVE_INTERVAL: Final = 5
KEEPALIVE_PROBES: Final = 3
USER_TIMEOUT_MS: Final = 20_000

TLS_TIMEOUT: Final = 5.0  # Seconds for the TLS handshake, within the 10 s of the whole attempt.


async def dial(host: str, port: int) -> trio.SocketStream:
    """Open a TCP connection to *host*.

    Raises:
        socket.gaierror: Nobody knows the name.
        OSError: No address answered; says why the first one did not, and where that was.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"{error.strerror}: {host}") from None
    except OSError as error:
        raise _plain(error, host, port) from None
    tune(stream.socket)
    return stream


async def dial_tls(
    host: str, port: int, context: ssl.SSLContext | None = None, *, server_hostname: str | None = None
) -> trio.SSLStream[trio.SocketStream]:
    """Open a TLS connection to *host*, verified.

    Args:
        host: Name or address to connect to.
        port: TCP port.
        context: None verifies against the system's certificates.
        server_hostname: The name its certificate must have; None means *host*.

    Raises:
        OSError: As `dial`.
        ssl.SSLError: Its certificate is not to be trusted, or it speaks no TLS.
        TimeoutError: The handshake took more than 5 s.
    """
    return await secured(
        await dial(host, port), context or ssl.create_default_context(), server_hostname or host
    )


async def secured(
    stream: trio.SocketStream,
    context: ssl.SSLContext,
    server_hostname: str,
    *,
    https_compatible: bool = False,
) -> trio.SSLStream[trio.SocketStream]:
    """Shake hands over *stream*, which is closed if that fails. Raises as `dial_tls`."""
    secure = trio.SSLStream(
        stream, context, server_hostname=server_hostname, https_compatible=https_compatible
    )
    try:
        with trio.move_on_after(TLS_TIMEOUT) as scope:
            await secure.do_handshake()
        if scope.cancelled_caught:
            raise TimeoutError(f"no TLS with {server_hostname} within {TLS_TIMEOUT:g} s")
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        reason = error.__cause__
        raise reason if isinstance(reason, ssl.SSLError | OSError) else ConnectionError(str(error)) from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure


def certificate_expiry(stream: trio.abc.Stream) -> float | None:
    """When the peer's certificate expires, in seconds since 1970; None without TLS, or if nobody verified it."""
    if not isinstance(stream, trio.SSLStream):
        return None
    try:
        certificate = stream.getpeercert()
    except (ValueError, trio.ClosedResourceError):  # No handshake yet.
        return None
    ends = certificate.get("notAfter") if isinstance(certificate, dict) else None
    return float(ssl.cert_time_to_seconds(ends)) if isinstance(ends, str) else None


def is_silent(stream: "trio.SocketStream | trio.SSLStream[trio.SocketStream]") -> bool:
    """Whether an idle connection is as it was left: False if the peer has closed it, or said something unasked.

    Does not wait. Over TLS only the end is seen, since the protocol itself may say things at any time.
    """
    secure = isinstance(stream, trio.SSLStream)
    below = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    try:
        with socket.socket(fileno=os.dup(below.socket.fileno())) as plain:
            found = plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return secure and bool(found)


def tune(sock: "trio.socket.SocketType | socket.socket") -> None:
    """Let a TCP socket notice a dead peer, and send small messages at once. Others are left as they are."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
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


def _plain(error: OSError, host: str, port: int) -> OSError:
    """What the first address answered, instead of trio's summary with a group behind it."""
    reason = next(leaves(error.__cause__)) if error.__cause__ is not None else error
    if not isinstance(reason, OSError) or reason.errno is None:
        return error
    # Python makes it a ConnectionRefusedError and so on.
    return OSError(reason.errno, f"{os.strerror(reason.errno)}: {host}:{port}")
