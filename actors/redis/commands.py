"""What we know of Redis commands: which may be repeated, which wait, which a shared connection refuses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from redis.commands import READ_COMMANDS

from resprout.runtime.errors import ResproutError


class CommandRefused(ResproutError, ValueError):
    """This command does not fit this connection. Nothing was sent; the text says what to use instead."""

    def __init__(self, name: str, advice: str) -> None:
        super().__init__(f"{name} was not sent: {advice}")
        self.name, self.advice = name, advice


@attrs.frozen
class Command:
    """One command by name.

    Attributes:
        name: As redis-py writes it, upper case: ``GET``, ``ACL CAT``.
        words: What stands for the name on the wire.
        repeatable: It only reads, so that running it twice does no harm.
        waits: It can wait on the server, which depends on its arguments: see `block_seconds`.
    """

    name: str
    words: tuple[str, ...]
    repeatable: bool
    waits: bool

    @property
    def confirms(self) -> bool:
        """It waits for replicas or the disk to have what was written before, over the same connection."""
        return self.name in CONFIRM

    def check_wait(self, seconds: float, *, after_writes: bool = False) -> None:
        """Whether it may wait on the server for *seconds*, and if it confirms, whether that makes sense.

        Raises:
            CommandRefused: No, and why.
        """
        if self.confirms and not after_writes:
            raise CommandRefused(self.name, _CONFIRM)
        if seconds == math.inf:
            raise CommandRefused(self.name, _FOR_EVER)


def command_named(name: str, first_argument: object = None) -> Command:
    """Look *name* up; *first_argument* matters where it is a subcommand, as in ``CLIENT`` and ``REPLY``.

    Raises:
        CommandRefused: The command would change the connection under everyone who shares it.
    """
    words = tuple(name.upper().split())
    if len(words) == 1 and words[0] in HAVE_SUBCOMMANDS and first_argument is not None:
        full = f"{words[0]} {_text(first_argument)}"
    else:
        full = " ".join(words)
    for known in (full, words[0] if words else ""):
        if known in REFUSED:
            raise CommandRefused(known, REFUSED[known])
    return Command(name=full, words=words, repeatable=full in READS, waits=full in WAITS)


def block_seconds(command: Command, args: Sequence[Any]) -> float | None:
    """How long *command* with *args*, its name included, may wait on the server; None if it does not.

    >>> block_seconds(command_named("BLPOP"), ("BLPOP", "queue", 2))
    2.0
    """
    if not command.waits:
        return None
    position = _block_position(command, args)
    if position is None:
        return None
    seconds = _number(args[position]) * WAITS[command.name][1] if len(args) > abs(position) else 0.0
    return seconds or math.inf


def blocking_for(seconds: float, command: Command, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """*args* with another time to wait on the server, of at least a millisecond: zero would be for ever.

    >>> blocking_for(0.5, command_named("XREAD"), ("XREAD", "BLOCK", 2000, "STREAMS", "s", "$"))
    ('XREAD', 'BLOCK', 500, 'STREAMS', 's', '$')
    """
    position = _block_position(command, args)
    assert position is not None, "only of a command that waits"
    seconds, unit = max(0.001, seconds), WAITS[command.name][1]
    changed = list(args)
    changed[position] = seconds if unit == 1.0 else round(seconds / unit)
    return tuple(changed)


def _block_position(command: Command, args: Sequence[Any]) -> int | None:
    """Where the time to wait stands; None if the command does not wait with these arguments."""
    position = WAITS[command.name][0]
    if position != AFTER_BLOCK:
        return position
    for place in range(4 if command.name == "XREADGROUP" else 1, len(args) - 1):
        match _text(args[place]):
            case "BLOCK":
                return place + 1
            case "STREAMS":
                return None
    return None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0  # The server will say what is wrong with it.


def _text(value: object) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).upper()


HAVE_SUBCOMMANDS = frozenset(
    ("CLIENT", "CONFIG", "DEBUG", "HIMPORT", "MEMORY", "OBJECT", "PUBSUB", "SCRIPT", "XINFO")
)

READS = READ_COMMANDS | {
    *("CLIENT GETNAME", "CLIENT ID", "CLIENT INFO", "CLIENT LIST", "CONFIG GET", "COMMAND", "COMMAND COUNT"),
    *("ECHO", "GEORADIUS_RO", "GEORADIUSBYMEMBER_RO", "INFO", "LASTSAVE", "MEMORY STATS", "MEMORY USAGE"),
    *("OBJECT ENCODING", "OBJECT FREQ", "OBJECT IDLETIME", "OBJECT REFCOUNT", "PING", "PUBSUB CHANNELS"),
    *("PUBSUB NUMPAT", "PUBSUB NUMSUB", "ROLE", "SCRIPT EXISTS", "SORT_RO", "SUBSTR", "TIME"),
    *("XINFO CONSUMERS", "XINFO GROUPS", "XINFO STREAM"),
}

AFTER_BLOCK = 0

WAITS: Mapping[str, tuple[int, float]] = {
    # Where the time stands among the arguments, and its unit in seconds. Streams have it after BLOCK.
    **dict.fromkeys(("BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX", "BRPOPLPUSH", "BLMOVE"), (-1, 1.0)),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), (1, 1.0)),
    **dict.fromkeys(("WAIT", "WAITAOF"), (-1, 0.001)),
    **dict.fromkeys(("XREAD", "XREADGROUP"), (AFTER_BLOCK, 0.001)),
}

CONFIRM = frozenset(("WAIT", "WAITAOF"))

_FOR_EVER = "give it a time to wait, and repeat it: waiting for ever looks the same as a dead server"
_CONFIRM = (
    "it is about the writes before it on the same connection, which it would stop for everybody; put it"
    " behind them in one pipeline: pipe.set(…); pipe.wait(1, 100); await pipe.execute()"
)
_NO_STATE = "all tasks share the connection, and it is renewed at any time"
_SUBSCRIBE = "it makes the connection a subscriber; use async with redis.subscribe(...), or a stream"
_LOGIN = "the connection logs in by itself; put user, password and database into its URL"
_TRANSACTION = "other tasks' commands would get in between; use pipeline(), which sends MULTI to EXEC at once"
_WATCH = "all tasks share the connection; use async with redis.transaction(...), transact() or a script"
_OWN = "the connection belongs to its actor, which opens and closes it"
_CLUSTER = "clusters are not supported; use one server, or Sentinel"
_TOOL = "it turns the connection into a stream of something else; use redis-cli"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"), _SUBSCRIBE),
    **dict.fromkeys(("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"), _SUBSCRIBE),
    **dict.fromkeys(("AUTH", "HELLO", "SELECT"), _LOGIN),
    **dict.fromkeys(("MULTI", "EXEC", "DISCARD"), _TRANSACTION),
    **dict.fromkeys(("WATCH", "UNWATCH"), _WATCH),
    **dict.fromkeys(("QUIT", "RESET"), _OWN),
    **dict.fromkeys(("ASKING", "READONLY", "READWRITE"), _CLUSTER),
    **dict.fromkeys(("MONITOR", "SYNC", "PSYNC", "REPLCONF", "DEBUG PROTOCOL", "SCRIPT DEBUG"), _TOOL),
    **dict.fromkeys(("CLIENT CACHING", "CLIENT REPLY", "CLIENT TRACKING", "CLIENT SETINFO"), _NO_STATE),
    **dict.fromkeys(("CLIENT NO-EVICT", "CLIENT NO-TOUCH"), _NO_STATE),
    "CLIENT SETNAME": f"{_NO_STATE}; give client_name to RedisConnection",
    **dict.fromkeys(("HIMPORT", "HIMPORT PREPARE", "HIMPORT SET"), _NO_STATE),
}
