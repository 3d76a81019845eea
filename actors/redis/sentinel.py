"""Redis Sentinel: who the master is, asked anew on each attempt to connect.

A Sentinel may be out of date, so its answer is only a suggestion: whoever connects asks the server for its role,
and goes to the next Sentinel if it is no master.
"""

from urllib.parse import parse_qsl, quote, urlencode

import attrs

from resprout.actors.redis.endpoint import Endpoint, parse_url

SENTINEL_PORT = 26379
SCHEMES = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}


@attrs.frozen
class SentinelGroup:
    """The Sentinels that watch one master.

    Attributes:
        name: What they call the master.
        sentinels: Where they are, and our login for them.
        master: Login, database and TLS for the master; its host and port are what they say.
    """

    name: str
    sentinels: tuple[Endpoint, ...]
    master: Endpoint

    def __str__(self) -> str:
        """For messages, without any login."""
        hosts = ", ".join(f"{each.host}:{each.port}" for each in self.sentinels)
        return f"the Sentinels of {self.name!r} at {hosts}"

    def at(self, host: str, port: int) -> Endpoint:
        """The master, if it is there."""
        return attrs.evolve(self.master, host=host, port=port)


def parse_source(url: str) -> Endpoint | SentinelGroup:
    """As `parse_url`, and ``redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/name[/db]``.

    Login and database are the master's. Options: ``sentinel_username`` and ``sentinel_password`` for the
    Sentinels, and ``ca_file`` with ``rediss+sentinel``, which speaks TLS to all of them.

    Raises:
        ValueError: As `parse_url`.

    >>> str(parse_source("redis+sentinel://:secret@one,two:5000/orders"))
    "the Sentinels of 'orders' at one:26379, two:5000"
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        return parse_url(url)
    rest, _, query = rest.partition("?")
    address, _, path = rest.partition("/")
    login, _, hosts = address.rpartition("@")
    name, _, db = path.partition("/")
    if not name or "/" in db:
        raise ValueError(
            "wrong Redis URL: after the Sentinels comes the master's name, as in …host:26379/name/0"
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    user, password = options.pop("sentinel_username", ""), options.pop("sentinel_password", "")
    sentinel_login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    base, tail = SCHEMES[scheme], f"?{urlencode(options)}" if options else ""
    return SentinelGroup(
        name=name,
        sentinels=tuple(
            _sentinel(f"{base}://{sentinel_login}{host}{tail}", host) for host in hosts.split(",")
        ),
        master=parse_url(f"{base}://{login}{'@' if login else ''}localhost/{db}{tail}"),
    )


def _sentinel(url: str, host: str) -> Endpoint:
    if not host.strip():
        raise ValueError("wrong Redis URL: the name of a Sentinel is missing; separate them by one comma")
    endpoint = parse_url(url)
    has_port = host.rpartition("]")[2].find(":") >= 0
    return endpoint if has_port else attrs.evolve(endpoint, port=SENTINEL_PORT)
