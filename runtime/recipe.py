"""What the engine needs to know to start an actor. `resprout.supervisors.child` adds when to restart it."""

from __future__ import annotations

import enum
import inspect
import math
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakSet

import attrs

from resprout.runtime.actor import Actor
from resprout.runtime.errors import TreeError
from resprout.runtime.exits import Crashed, Killed
from resprout.runtime.mailbox import DEFAULT_CAPACITY, MailFate, Overflow
from resprout.runtime.names import Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resprout.runtime.exits import ExitReason

DEFAULT_SHUTDOWN = 5.0
DEFAULT_START_TIMEOUT = 30.0


class BrutalKill(enum.Enum):
    """A shutdown value: cancel at once, without `on_stop`."""

    BRUTAL_KILL = "brutal_kill"


BRUTAL_KILL: Final = BrutalKill.BRUTAL_KILL
INFINITY: Final = math.inf
"""A shutdown value: wait for the actor's end for as long as it takes."""

ShutdownTime: TypeAlias = float | BrutalKill
"""Seconds from the stop order until the actor is cancelled."""


@attrs.frozen(kw_only=True)
class Recipe:
    """How to make one actor: data, until the tree runs.

    Attributes:
        id: Its name among its siblings; the last part of its path.
        start: Makes a fresh actor for each incarnation; give arguments with `functools.partial`.
        name: A `Name` under which application code finds it.
        shutdown: Seconds it may take to stop, `BRUTAL_KILL` or `INFINITY`.
        start_timeout: Seconds `on_start` may take.
        mailbox: How many messages may wait.
        overflow: What happens to one more.
        mail_on_restart: What becomes of waiting messages when it crashes and is started again.
        mail_on_stop: And when it has ended for good. `KEEP` keeps casts until it is started again on request.
    """

    id: str
    start: Callable[[], Actor]
    name: Name[Actor] | None = None
    shutdown: ShutdownTime = DEFAULT_SHUTDOWN
    start_timeout: float = DEFAULT_START_TIMEOUT
    mailbox: int = DEFAULT_CAPACITY
    overflow: Overflow = Overflow.BLOCK
    mail_on_restart: MailFate = MailFate.KEEP
    mail_on_stop: MailFate = MailFate.DEAD_LETTER

    def check(self, path: str, names: dict[str, str]) -> None:
        """Raise `TreeError` if this cannot run at *path*; *names* collects who takes which name.

        Raises:
            TreeError: Names the child's path and the fix.
        """
        if not isinstance(self.id, str) or not self.id or "/" in self.id:
            raise TreeError(
                f"{path}: a child's id must be a word without '/', not {self.id!r}; choose another id"
            )
        if not callable(self.start):
            raise TreeError(f"{path}: start must make an actor, and {self.start!r} is {_hint(self.start)}")
        if not isinstance(self.shutdown, BrutalKill) and not is_time(self.shutdown, least=0):
            raise TreeError(
                f"{path}: shutdown must be seconds >= 0 or BRUTAL_KILL, not {self.shutdown!r}; correct it"
            )
        if not is_time(self.start_timeout, least=0.001):
            raise TreeError(
                f"{path}: start_timeout must be seconds > 0, not {self.start_timeout!r}; correct it"
            )
        if not is_whole(self.mailbox, least=1):
            raise TreeError(f"{path}: mailbox must hold at least 1 message, not {self.mailbox!r}; correct it")
        if not isinstance(self.overflow, Overflow):
            raise TreeError(
                f"{path}: unknown overflow {self.overflow!r}; use one of {', '.join(map(str, Overflow))}"
            )
        for fate in (self.mail_on_restart, self.mail_on_stop):
            if not isinstance(fate, MailFate):
                raise TreeError(
                    f"{path}: unknown fate of mail {fate!r}; use one of {', '.join(map(str, MailFate))}"
                )
        if self.name is not None and not isinstance(self.name, Name):
            raise TreeError(f"{path}: name must be a Name, not {self.name!r}; use Name(Class, {self.name!r})")
        if misfit := _misfit(self.start):
            raise TreeError(f"{path}: {misfit}")
        if self.name is not None:
            self._check_name(path, self.name.key, names)

    def expects(self, reason: ExitReason, *, ordered: bool) -> bool:
        """Whether an end with *reason* is no news; *ordered* if it was told to stop before."""
        if isinstance(reason, Killed):
            return ordered and isinstance(self.shutdown, BrutalKill)
        return not isinstance(reason, Crashed)

    def stops_within(self, children: Iterable[float], *, at_once: bool = False) -> float:
        """Seconds from the stop order until it and all below is dead or cancelled, at worst.

        *children* are those seconds of its children, which stop one after the other or *at_once*. Of an actor
        they do not count: its own time is theirs too.
        """
        return limit_of(self.shutdown)

    def _check_name(self, path: str, key: str, names: dict[str, str]) -> None:
        holder = names.setdefault(key, path)
        if holder != path:
            raise TreeError(f"{path}: the name {key!r} is taken by {holder}; give one of them another name")


def limit_of(shutdown: ShutdownTime) -> float:
    """*shutdown* in seconds.

    >>> limit_of(BRUTAL_KILL), limit_of(5)
    (0.0, 5.0)
    """
    return 0.0 if isinstance(shutdown, BrutalKill) else float(shutdown)


def is_time(value: object, *, least: float) -> bool:
    """Whether *value* is a number of seconds, *least* or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= least


def is_whole(value: object, *, least: int) -> bool:
    """Whether *value* is a whole number, *least* or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_fitting: WeakSet[type] = WeakSet()  # Classes that can be made without arguments.


def _misfit(start: Callable[[], object]) -> str:
    """Why calling *start* cannot make an actor, as far as its signature tells; empty if it may."""
    if start in _fitting:
        return ""  # Found out before: sessions and jobs are checked each time one starts.
    given = start if isinstance(start, partial) else partial(start)
    kind = given.func
    if not isinstance(kind, type):
        return ""
    if not issubclass(kind, Actor):
        return f"start must make an actor, and {kind.__name__} is no Actor class; derive it from Actor"
    try:
        inspect.signature(kind).bind(*given.args, **given.keywords)
    except TypeError as error:
        return f"{kind.__name__} cannot be made: {error}; use functools.partial({kind.__name__}, …)"
    except ValueError:  # A class without a signature.
        return ""
    if start is kind:
        _fitting.add(kind)
    return ""


def _hint(start: object) -> str:
    if isinstance(start, Actor):
        kind = type(start).__name__
        return f"an actor already; each restart needs a fresh one: pass {kind} or partial({kind}, …)"
    return "not callable; pass an Actor class or functools.partial(Class, …)"
