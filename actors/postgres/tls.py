"""TLS as the DSN asks for it, with the names and the meaning that libpq gives them.

asyncpg knows the modes of ``sslmode``. Here is what it leaves out: a safe choice where the DSN makes none, the
authorities of the system, and files that cannot be read, which it does not name.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from resprout.actors.postgres.dsn import is_verified_anyway

Tls: TypeAlias = ssl.SSLContext | Literal["verify-full"] | None

SYSTEM = "system"  # As sslrootcert: the authorities that this machine trusts.
VERIFIED = ("verify-ca", "verify-full")
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def tls_for(dsn: str) -> Tls:
    """How to use TLS; files are read anew on each attempt, so that certificates can be renewed.

    libpq's own default, ``prefer``, goes on without TLS when the server refuses it and verifies nothing. Who
    wants that says so: ``sslmode=prefer`` or ``sslmode=disable``.

    Returns:
        None to leave it to asyncpg, by what the DSN and the environment say; ``verify-full`` likewise, in that mode.

    Raises:
        ssl.SSLError: A file of certificates or keys is not there, cannot be read, or holds something else.
    """
    options = dict(parse_qsl(urlsplit(dsn).query))
    if "service" in options:
        return None
    named = {
        name: options.get(name) or os.environ.get(f"PG{name.upper()}") or "" for name in ("sslmode", *FILES)
    }
    _check_files(named)
    if named["sslrootcert"] == SYSTEM:
        return _by_the_system(named, options)
    if not is_verified_anyway(dsn):
        return None
    return "verify-full" if named["sslrootcert"] else _by_the_system(named, options)


def _check_files(named: dict[str, str]) -> None:
    for name in FILES:
        path = named[name]
        if not path or (name == "sslrootcert" and path == SYSTEM):
            continue
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise ssl.SSLError(f"{name}={path} cannot be read: {error.strerror}") from error
    home = Path("~/.postgresql/root.crt").expanduser()
    if named["sslmode"] in VERIFIED and not named["sslrootcert"] and not home.exists():
        raise ssl.SSLError(
            f"sslmode={named['sslmode']} needs an authority: add sslrootcert=<file>, sslrootcert=system for those "
            f"that this machine trusts, or make {home}"
        )


def _by_the_system(named: dict[str, str], options: dict[str, str]) -> ssl.SSLContext:
    """Verified, the name too, by the authorities that this machine trusts."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if named["sslcert"]:
        password = options.get("sslpassword", "")
        context.load_cert_chain(named["sslcert"], named["sslkey"] or None, password=lambda: password)
    if named["sslcrl"]:
        context.load_verify_locations(cafile=named["sslcrl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return context
