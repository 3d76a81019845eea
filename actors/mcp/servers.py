"""Which MCP server to talk to, and how: two descriptions, plain values that can stand in a tree."""

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

Headers: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]
"""Asked on every attempt to connect, so that an expired token is replaced by the next attempt."""


class Revision(enum.Enum):
    """Which era of the protocol to speak."""

    AUTO = "auto"
    """Ask the server; speak 2026-07-28 if it can, else shake hands as older revisions do."""

    LEGACY = "legacy"
    """Shake hands as revisions up to 2025-11-25 do, with a session where the server wants one."""


def _as_words(command: Sequence[str]) -> tuple[str, ...]:
    if isinstance(command, str):
        raise ValueError(f"command must be a program and its arguments as separate words, not {command!r}")
    return tuple(command)


@attrs.frozen(kw_only=True)
class Stdio:
    """A server that runs as our child process and talks over its standard input and output.

    The process belongs to the session: each new session starts a new one, and none outlives its session. It
    runs in a process group of its own, so that what it started itself ends with it.

    Attributes:
        command: The program and its arguments.
        env: Added to a small set of inherited variables (HOME, LOGNAME, PATH, SHELL, TERM, USER); secrets in
            our own environment do not leak into the server.
        cwd: Where it runs; None is our own working directory.
        revision: Which era of the protocol to speak.
        max_message_bytes: A longer line ends the session.
    """

    command: tuple[str, ...] = attrs.field(converter=_as_words)
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    cwd: Path | None = None
    revision: Revision = Revision.AUTO
    max_message_bytes: int = 16 * 2**20

    def __attrs_post_init__(self) -> None:
        if not self.command or not all(isinstance(part, str) and part for part in self.command[:1]):
            raise ValueError("command must name a program, such as ('python', 'server.py')")
        if self.max_message_bytes <= 0:
            raise ValueError(f"max_message_bytes must be positive, not {self.max_message_bytes}")

    def __str__(self) -> str:
        return f"stdio:{Path(self.command[0]).name}"


@attrs.frozen(kw_only=True)
class Http:
    """A server somewhere else, reached over streamable HTTP. Certificates are verified.

    Attributes:
        url: The endpoint, such as ``https://tools.example.org/mcp``.
        headers: Gives the headers of each new session, such as ``Authorization``; asked on every attempt.
        revision: Which era of the protocol to speak.
        connect_timeout: Seconds for TCP and TLS.
        max_message_bytes: A longer answer fails its call.
    """

    url: str = attrs.field(repr=lambda url: repr(shown(url)))
    headers: Headers | None = attrs.field(default=None, repr=False)
    revision: Revision = Revision.AUTO
    connect_timeout: float = 5.0
    max_message_bytes: int = 16 * 2**20

    def __attrs_post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url must start with http:// or https://")  # What else it holds may be secret.
        if self.max_message_bytes <= 0 or self.connect_timeout <= 0:
            raise ValueError("max_message_bytes and connect_timeout must be positive")

    def __str__(self) -> str:
        return shown(self.url)


def shown(url: str) -> str:
    """*url* without what may be secret: the login and the query.

    >>> shown("https://ann:secret@tools.example/mcp?key=secret")
    'tools.example/mcp'
    """
    return url.partition("?")[0].rpartition("@")[2]


McpServer: TypeAlias = Stdio | Http
