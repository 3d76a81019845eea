"""Where the chat finds its servers. Without these variables it runs Redis and Postgres itself.

CHAT_REDIS_URL, CHAT_DATABASE_URL   real servers instead of the embedded ones
CHAT_DATA                           directory of the embedded servers (default: this user's state directory)
CHAT_LIVE_PORT, CHAT_HTTP_PORT      ports on the loopback interface (default: 8765 and 8080; 0: any free one)
"""

from collections.abc import Mapping
from pathlib import Path

import attrs


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
        """Read the variables named above."""
        return cls(
            redis_url=environ.get("CHAT_REDIS_URL"),
            database_url=environ.get("CHAT_DATABASE_URL"),
            data=Path(environ["CHAT_DATA"]) if "CHAT_DATA" in environ else None,
            live_port=_port(environ, "CHAT_LIVE_PORT", 8765),
            http_port=_port(environ, "CHAT_HTTP_PORT", 8080),
        )


def _port(environ: Mapping[str, str], variable: str, default: int) -> int:
    text = environ.get(variable, str(default))
    if not text.isdecimal() or int(text) > 65_535:
        raise ValueError(f"{variable} must be a port from 0 to 65535, not {text!r}")
    return int(text)
