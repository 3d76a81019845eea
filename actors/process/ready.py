"""How to know that a server is ready: by a real answer in its own protocol, not a log line or a pause."""

import struct
from typing import TypeAlias

import attrs
import trio


@attrs.frozen
class RedisAnswers:
    """Redis answers PING with PONG, or asks for a password. While it loads its data it is not ready."""


@attrs.frozen
class PostgresAnswers:
    """Postgres takes a connection of *user* to *database*, or asks for a password."""

    user: str = "postgres"
    database: str = "postgres"


@attrs.frozen
class HttpAnswers:
    """An HTTP server answers GET *path* with a status below 500: any such status proves that it serves."""

    path: str = "/"


@attrs.frozen
class PortOpen:
    """Something accepts TCP connections. The weakest sign: choose it for servers with no request to send."""


@attrs.frozen
class Runs:
    """Nothing to ask: the process counts as ready when it is still alive after *settle* seconds."""

    settle: float = 0.1


Question: TypeAlias = RedisAnswers | PostgresAnswers | HttpAnswers | PortOpen
Readiness: TypeAlias = Question | Runs


async def answers(ready: Question, host: str, port: int) -> bool:
    """Ask the server once. False while it refuses, resets or says that it is still starting.

    Has no deadline of its own: a hung server answers never.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
        async with stream:
            match ready:
                case RedisAnswers():
                    return await _redis(stream)
                case PostgresAnswers():
                    return await _postgres(stream, ready)
                case HttpAnswers():
                    return await _http(stream, ready, host)
                case PortOpen():
                    return True
    except (OSError, trio.BrokenResourceError, EOFError):
        return False


async def _redis(stream: trio.SocketStream) -> bool:
    await stream.send_all(b"PING\r\n")
    line = await _read_until(stream, b"\r\n")
    return line.startswith((b"+PONG", b"-NOAUTH"))


async def _postgres(stream: trio.SocketStream, ready: PostgresAnswers) -> bool:
    """Send a StartupMessage (protocol 3.0); the first answer is 'R' (authentication) or 'E' (error)."""
    pairs = ("user", ready.user, "database", ready.database)
    body = struct.pack("!i", 196608) + b"".join(part.encode() + b"\0" for part in pairs) + b"\0"
    await stream.send_all(struct.pack("!i", len(body) + 4) + body)
    first = await stream.receive_some(1)
    if first != b"R":  # 57P03, "the database system is starting up", or a peer that went away.
        return False
    await stream.send_all(b"X" + struct.pack("!i", 4))
    return True


async def _http(stream: trio.SocketStream, ready: HttpAnswers, host: str) -> bool:
    await stream.send_all(f"GET {ready.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    status = (await _read_until(stream, b"\r\n")).split(b" ")
    return len(status) >= 2 and status[0].startswith(b"HTTP/") and status[1] < b"500"


async def _read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    data = bytearray()
    while end not in data:
        more = await stream.receive_some(4096)
        if not more:
            raise EOFError
        data += more
        if len(data) > 65536:
            raise EOFError("no end of line in 64 KiB")
    return bytes(data)
