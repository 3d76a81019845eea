"""Where the chat finds its servers. Without these variables it runs Redis and Postgres itself.

CHAT_REDIS_URL, CHAT_DATABASE_URL   real servers instead of the embedded ones
CHAT_DATA                           directory of the embedded servers (default: this user's state directory)
CHAT_LIVE_PORT, CHAT_HTTP_PORT      ports on the loopback interface (default: 8765 and 8080; 0: any free one)
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from resprout.actors.postgres import check_dsn
from resprout.actors.redis import parse_url


@attrs.frozen(kw_only=True)
class Settings:
    """What differs between one chat and another."""

    redis_url: str | None = None
    database_url: str | None = None
    data: Path | None = None
    live_port: int = 8765
    http_port: int = 8080

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the variables named above; an empty one is as none.

        Raises:
            ValueError: What one says can never work. A server that is away, or refuses us, is no such error.
        """
        return cls(
            redis_url=_checked(environ, "CHAT_REDIS_URL", parse_url),
            database_url=_checked(environ, "CHAT_DATABASE_URL", check_dsn),
            data=Path(environ["CHAT_DATA"]) if environ.get("CHAT_DATA") else None,
            live_port=_port(environ, "CHAT_LIVE_PORT", 8765),
            http_port=_port(environ, "CHAT_HTTP_PORT", 8080),
        )


def _checked(environ: Mapping[str, str], variable: str, check: Callable[[str], object]) -> str | None:
    if not (text := environ.get(variable)):
        return None
    try:
        check(text)
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None
    return text


def _port(environ: Mapping[str, str], variable: str, default: int) -> int:
    text = environ.get(variable) or str(default)
    if not text.isdecimal() or int(text) > 65_535:
        raise ValueError(f"{variable} must be a port from 0 to 65535, not {text!r}")
    return int(text)
