"""Ports for servers that come back at the same number."""

import random
import socket
from pathlib import Path

_ATTEMPTS = 200


def free_port(host: str, chooser: random.Random | None = None) -> int:
    """Return a port nobody listens on now, outside the range the kernel hands to clients.

    Inside that range a client that retries a dead server's port is sooner or later given this very port as
    its own, connects to itself, and keeps the server from coming back.

    Raises:
        OSError: No port is free.
    """
    chooser = random.Random() if chooser is None else chooser
    low, high = _outside_client_range()
    for _ in range(_ATTEMPTS):
        port = chooser.randint(low, high)
        if is_free(host, port):
            return port
    raise OSError(f"no free port between {low} and {high} on {host}")


def is_free(host: str, port: int) -> bool:
    """True if a server could listen on *port* now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # As servers do: TIME_WAIT is no obstacle.
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _outside_client_range() -> tuple[int, int]:
    try:
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        first, last = 32768, 60999
    below, above = (10_000, first - 1), (last + 1, 65_535)
    best = max(below, above, key=lambda span: span[1] - span[0])
    return best if best[1] - best[0] >= 100 else (10_000, 65_535)
