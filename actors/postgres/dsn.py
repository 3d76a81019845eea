"""What a DSN says, as far as we must know: which servers, and whether TLS may be skipped."""

from __future__ import annotations

import ipaddress
import os
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def check_dsn(dsn: str) -> None:
    """Refuse what can never work, before anything starts.

    What is wrong is named but never quoted: where a password is not encoded, any part may be a piece of it.

    Raises:
        ValueError: It is not a DSN; says what is wrong.
    """
    wrong = _fault(dsn)
    if wrong:
        raise ValueError(f"{wrong}: expected postgresql://user:password@host:port/database?options")


def _fault(dsn: str) -> str:
    """What is wrong with *dsn*; empty if nothing is."""
    if not dsn.startswith(("postgresql://", "postgres://")):
        return "not a DSN of Postgres"
    try:
        parts = urlsplit(dsn)
    except ValueError:  # Its text may repeat the login.
        return "the part between // and / cannot be read"
    if parts.fragment or ("@" in parts.path and "@" not in parts.netloc):
        return "'/', '?' and '#' in a password are %2F, %3F and %23"
    ports = (host.rpartition("]")[2].partition(":")[2] for host in _hosts(dsn))
    if not all(port.isdecimal() and 0 < int(port) <= 65_535 for port in ports if port):
        return "a port is no number from 1 to 65535 ('/', '?' and '#' in a password are %2F, %3F and %23)"
    options = dict(parse_qsl(parts.query))
    mode = options.get("sslmode", "verify-full")
    if mode not in _SSL_MODES:
        return f"sslmode must be one of {', '.join(_SSL_MODES)}"
    if options.get("sslrootcert") == "system" and mode != "verify-full":
        return "sslrootcert=system is only for sslmode=verify-full: anybody can have a certificate of such an authority"
    return ""


def is_verified_anyway(dsn: str) -> bool:
    """Whether TLS is verified although neither DSN nor environment say so: always, except on this machine.

    >>> is_verified_anyway("postgresql://app@db.example/app")
    True
    >>> [is_verified_anyway(f"postgresql://app@{end}") for end in ("127.0.0.1/app", "db/app?sslmode=disable")]
    [False, False]
    """
    options = dict(parse_qsl(urlsplit(dsn).query))
    if "sslmode" in options or "service" in options or os.environ.get("PGSSLMODE"):
        return False
    return not all(is_local(host) for host in _hosts(dsn))


def wanted_session(dsn: str) -> Literal["read-write"] | None:
    """Which server will do where the DSN names several hosts and does not say: one that can be written to.

    libpq's own default, ``any``, would take the first that answers, a replica too, and stay with it.

    >>> wanted_session("postgresql://app@one,two/app"), wanted_session("postgresql://app@one/app")
    ('read-write', None)
    """
    options = dict(parse_qsl(urlsplit(dsn).query))
    if "target_session_attrs" in options or os.environ.get("PGTARGETSESSIONATTRS"):
        return None
    return "read-write" if count_hosts(dsn) > 1 else None


def count_hosts(dsn: str) -> int:
    """How many hosts *dsn* names, or the environment if it names none."""
    return len(_hosts(dsn))


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
