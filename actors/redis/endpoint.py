"""Where a Redis is and who we are there: the parts of a URL, checked before anything is opened."""

from urllib.parse import ParseResult, parse_qsl, unquote, urlparse

import attrs

DEFAULT_PORT = 6379


@attrs.frozen
class Endpoint:
    """One Redis server and the login for it.

    Attributes:
        host: Name or address; resolved anew on each attempt. Unused with *path*.
        port: TCP port.
        path: Path of a Unix socket, or None for TCP.
        db: Number of the database.
        username: None for Redis' default user.
        password: None for no login. Never shown.
        tls: Whether to speak TLS, always verified.
        ca_file: Certificates to trust instead of the system's, or None.
    """

    host: str = "localhost"
    port: int = DEFAULT_PORT
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    tls: bool = False
    ca_file: str | None = None

    def __str__(self) -> str:
        """The address without the login, for messages.

        >>> str(parse_url("redis://:secret@cache.example/3"))
        'redis://cache.example:6379/3'
        """
        if self.path is not None:
            return f"unix://{self.path}?db={self.db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"


def parse_url(url: str) -> Endpoint:
    """Read ``redis://[[user]:password@]host[:port][/db]``, ``rediss://…`` (TLS) or ``unix://[…@]/path[?db=]``.

    Options: ``db``, and ``ca_file`` with ``rediss``. User, password and path are percent-decoded.

    Raises:
        ValueError: The URL is wrong; says what and how to put it right, and never shows the password.
    """
    try:
        parsed = _split(url)
        options = dict(parse_qsl(parsed.query, keep_blank_values=True))
        match parsed.scheme:
            case "redis" | "rediss":
                endpoint = _over_tcp(parsed, options)
            case "unix":
                endpoint = Endpoint(path=_socket_path(parsed), db=_number(options.pop("db", "0")))
            case scheme:
                raise ValueError(f"the scheme is {scheme!r}; use redis://, rediss:// (TLS) or unix://")
        if options:
            raise ValueError(
                "unknown option; known are db and, for rediss, ca_file; a '?' in a password is %3F"
            )
        if parsed.fragment:
            raise ValueError("'#' begins a fragment; in a password it is %23")
        if parsed.username and parsed.password is None:
            raise ValueError("there is a user without a password")
    except ValueError as error:
        raise ValueError(f"wrong Redis URL: {error}") from None  # Its cause could show the password.
    return attrs.evolve(
        endpoint,
        username=unquote(parsed.username) if parsed.username else None,
        password=unquote(parsed.password) if parsed.password is not None else None,
    )


def _split(url: str) -> ParseResult:
    try:
        return urlparse(url)
    except ValueError:  # Its text may repeat the login.
        raise ValueError("the part between // and / cannot be read") from None


def _over_tcp(parsed: ParseResult, options: dict[str, str]) -> Endpoint:
    tls = parsed.scheme == "rediss"
    path = unquote(parsed.path).strip("/")
    if path and "db" in options:
        raise ValueError("the database is given twice, in the path and as an option")
    try:
        port = parsed.port
    except ValueError:
        raise ValueError("the port must be a number from 1 to 65535; a '/' in a password is %2F") from None
    if port == 0:
        raise ValueError("the port must be a number from 1 to 65535")
    return Endpoint(
        host=parsed.hostname or "localhost",
        port=port or DEFAULT_PORT,
        db=_number(path or options.pop("db", "0")),
        tls=tls,
        ca_file=options.pop("ca_file", None) if tls else None,
    )


def _socket_path(parsed: ParseResult) -> str:
    if not parsed.path or parsed.hostname:
        raise ValueError("a Unix socket needs an absolute path, as in unix:///run/redis.sock")
    return unquote(parsed.path)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("the database must be a whole number such as 0")
    return int(text)
