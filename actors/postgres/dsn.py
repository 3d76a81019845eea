"""What a DSN says, as far as we must know: which server, and whether TLS may be skipped."""

from __future__ import annotations

import ipaddress
import os
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

TlsChoice = Literal["verify-full"] | bool | None


def check_dsn(dsn: str) -> None:
    """Refuse what can never work, before anything starts. Never shows the password.

    Raises:
        ValueError: It is not a DSN; says what is wrong.
    """
    hint = "expected postgresql://user:password@host:port/database?options"
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise ValueError(f"not a DSN of Postgres: {hint}")
    for host in _hosts(dsn):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not port.isdigit():
            raise ValueError(f"{port!r} is no port in {masked(dsn)}: {hint}")


def masked(dsn: str) -> str:
    """The DSN without its password, for messages.

    >>> masked("postgresql://app:secret@db.example:5432/app?sslmode=require")
    'postgresql://app@db.example:5432/app'
    """
    parts = urlsplit(dsn)
    login, at, where = parts.netloc.rpartition("@")
    user = quote(unquote(login.partition(":")[0]))
    where = where if at else parts.netloc
    return f"{parts.scheme}://{user}{'@' if user else ''}{where}{parts.path}"


def tls_choice(dsn: str) -> TlsChoice:
    """How to use TLS where the DSN does not say: verified, except on this machine.

    libpq's own default, ``prefer``, goes on without TLS when the server refuses it and verifies nothing. Who
    wants that says so: ``sslmode=prefer`` or ``sslmode=disable``.

    Returns:
        None to leave it to the DSN (or to ``PGSSLMODE``), True to verify by the system's certificates,
        ``verify-full`` to verify by those the DSN or the environment names.

    >>> tls_choice("postgresql://app@db.example/app")
    True
    >>> tls_choice("postgresql://app@127.0.0.1/app"), tls_choice("postgresql://app@db/app?sslmode=disable")
    (None, None)
    """
    options = dict(parse_qsl(urlsplit(dsn).query))
    if "sslmode" in options or "service" in options or os.environ.get("PGSSLMODE"):
        return None
    if all(is_local(host) for host in _hosts(dsn)):
        return None
    return "verify-full" if "sslrootcert" in options or os.environ.get("PGSSLROOTCERT") else True


def is_local(host: str) -> bool:
    """Whether *host*, as in a DSN, with or without a port, is this machine.

    >>> [is_local(host) for host in ("", "/run/postgresql", "localhost:5432", "[::1]:5432", "127.0.0.2", "db:5")]
    [True, True, True, True, True, False]
    """
    name = unquote(host)
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name in ("", "localhost") or name.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _hosts(dsn: str) -> list[str]:
    """The hosts in *dsn*, each with its port; those of the environment if it names none."""
    parts = urlsplit(dsn)
    named = dict(parse_qsl(parts.query)).get("host") or parts.netloc.rpartition("@")[2]
    return (named or os.environ.get("PGHOST", "")).split(",")
