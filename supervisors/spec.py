"""Child specs: a tree is data until it runs."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

import attrs

from resprout.runtime import Backoff, MailFate, Overflow, Recipe, TreeError
from resprout.runtime.mailbox import DEFAULT_CAPACITY
from resprout.runtime.recipe import (
    DEFAULT_SHUTDOWN,
    DEFAULT_START_TIMEOUT,
    BrutalKill,
    is_time,
    is_whole,
    limit_of,
)
from resprout.supervisors.cooldown import CoolDown
from resprout.supervisors.intensity import Intensity
from resprout.supervisors.strategy import ONE_FOR_ONE, PERMANENT, RestartType, Strategy, is_expected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resprout.runtime import Actor, ExitReason, Name, ShutdownTime

A = TypeVar("A", bound="Actor")


class AutoShutdown(enum.Enum):
    """Whether a supervisor ends when its significant children have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class GiveUp(enum.Enum):
    """What a supervisor does at its restart limit: end, and leave it to its own supervisor, as in OTP."""

    GIVE_UP = "give_up"


GIVE_UP: Final = GiveUp.GIVE_UP
OnLimit: TypeAlias = GiveUp | CoolDown


@attrs.frozen(kw_only=True)
class ChildSpec(Recipe):
    """Frozen recipe of a child; make it with `child` or `supervisor`.

    Attributes:
        restart: After which ends it is started again.
        significant: Whether its end counts for the supervisor's auto_shutdown.
        backoff: How long to wait before restarts in a row; None restarts at once, as OTP does.
        reset_after: Seconds of running after which the next restart is the first in a row again; None for
            the backoff's cap.
    """

    restart: RestartType = PERMANENT
    significant: bool = False
    backoff: Backoff | None = None
    reset_after: float | None = None

    def check(self, path: str, names: dict[str, str]) -> None:
        """See `Recipe.check`."""
        super().check(path, names)
        if not isinstance(self.restart, RestartType):
            raise TreeError(
                f"{path}: unknown restart {self.restart!r}; use PERMANENT, TRANSIENT or TEMPORARY"
            )
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise TreeError(f"{path}: backoff must be a Backoff or None, not {self.backoff!r}; correct it")
        if self.reset_after is not None and not is_time(self.reset_after, least=0):
            raise TreeError(
                f"{path}: reset_after must be seconds >= 0 or None, not {self.reset_after!r}; correct it"
            )
        if self.reset_after is not None and self.backoff is None:
            raise TreeError(
                f"{path}: reset_after is of a backoff, and there is none; give one, or leave it out"
            )
        if self.significant and self.restart is PERMANENT:
            raise TreeError(
                f"{path}: a significant child cannot be PERMANENT; make it TRANSIENT or TEMPORARY"
            )

    def expects(self, reason: ExitReason, *, ordered: bool) -> bool:
        """See `Recipe.expects`."""
        brutal = isinstance(self.shutdown, BrutalKill)
        return is_expected(self.restart, reason, ordered=ordered, brutal=brutal)


@attrs.frozen(kw_only=True)
class SupervisorSpec(ChildSpec):
    """A supervisor and its children, as data."""

    children: tuple[ChildSpec, ...] = ()
    strategy: Strategy = ONE_FOR_ONE
    intensity: Intensity = Intensity()
    on_limit: OnLimit = GIVE_UP
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    max_children: int | None = None

    def check(self, path: str, names: dict[str, str]) -> None:
        """See `Recipe.check`; checks everything below as well."""
        super().check(path, names)
        self._check_own(path)
        seen: set[str] = set()
        for spec in self.children:
            if not isinstance(spec, ChildSpec):
                raise TreeError(f"{path}: {spec!r} is no child spec; wrap it in child(…) or supervisor(…)")
            below = f"{path}/{spec.id}"
            self.check_child(below, spec, names)
            if spec.id in seen:
                raise TreeError(f"{below}: two children have the id {spec.id!r}; rename one of them")
            seen.add(spec.id)

    def check_child(self, path: str, spec: ChildSpec, names: dict[str, str]) -> None:
        """Raise `TreeError` if *spec* cannot be a child of this supervisor at *path*."""
        spec.check(path, names)
        if spec.significant and self.auto_shutdown is AutoShutdown.NEVER:
            parent = path.rpartition("/")[0]
            raise TreeError(
                f"{path}: significant needs an auto_shutdown of {parent} other than NEVER; set it there"
            )

    def stops_within(self, children: Iterable[float], *, at_once: bool = False) -> float:
        """See `Recipe.stops_within`: a supervisor has nothing to do but to wait for its children."""
        return min(limit_of(self.shutdown), max(children, default=0.0) if at_once else math.fsum(children))

    def _check_own(self, path: str) -> None:
        limit = self.intensity
        if not isinstance(self.strategy, Strategy):
            raise TreeError(
                f"{path}: unknown strategy {self.strategy!r}; use ONE_FOR_ONE, ONE_FOR_ALL or REST_FOR_ONE"
            )
        if not is_whole(limit.max_restarts, least=0):
            raise TreeError(
                f"{path}: intensity must be a whole number >= 0, not {limit.max_restarts!r}; correct it"
            )
        if not is_time(limit.period, least=0) or limit.period == 0:
            raise TreeError(f"{path}: period must be seconds > 0, not {limit.period!r}; correct it")
        if not isinstance(self.on_limit, GiveUp | CoolDown):
            raise TreeError(f"{path}: unknown on_limit {self.on_limit!r}; use GIVE_UP or CoolDown()")
        if not isinstance(self.auto_shutdown, AutoShutdown):
            raise TreeError(f"{path}: unknown auto_shutdown {self.auto_shutdown!r}; use AutoShutdown.…")
        if self.max_children is not None and not is_whole(self.max_children, least=0):
            raise TreeError(
                f"{path}: max_children must be a whole number >= 0 or None, not {self.max_children!r}; correct it"
            )


def child(
    id: str,
    start: Callable[[], A],
    *,
    name: Name[A] | None = None,
    restart: RestartType = PERMANENT,
    shutdown: ShutdownTime = DEFAULT_SHUTDOWN,
    significant: bool = False,
    backoff: Backoff | None = None,
    reset_after: float | None = None,
    start_timeout: float = DEFAULT_START_TIMEOUT,
    mailbox: int = DEFAULT_CAPACITY,
    overflow: Overflow = Overflow.BLOCK,
    mail_on_restart: MailFate = MailFate.KEEP,
    mail_on_stop: MailFate = MailFate.DEAD_LETTER,
) -> ChildSpec:
    """Recipe of a child; nothing starts before the tree runs, and mistakes are found by then.

    Args:
        id: Its name among its siblings, and the last part of its path.
        start: The actor's class, or `functools.partial(Class, …)`: makes a fresh actor for each incarnation.
        name: A `Name` under which the whole application finds it.
        restart: `PERMANENT` (always), `TRANSIENT` (after unclean ends) or `TEMPORARY` (never).
        shutdown: Seconds it may take to stop, `BRUTAL_KILL` or `INFINITY`.
        significant: Whether its own clean end counts for its supervisor's auto_shutdown.
        backoff: Delays between restarts in a row.
        reset_after: Seconds it must have run for the delays to begin anew; by default `backoff.cap`.
        start_timeout: Seconds `on_start` may take.
        mailbox: How many messages may wait.
        overflow: What happens to one more.
        mail_on_restart: What becomes of waiting messages when it crashes: by default they are kept.
        mail_on_stop: And when it has ended for good: by default they become dead letters.
    """
    return ChildSpec(
        id=id,
        start=start,
        name=cast("Name[Actor] | None", name),  # A recipe is not generic in its actor.
        restart=restart,
        shutdown=shutdown,
        significant=significant,
        backoff=backoff,
        reset_after=reset_after,
        start_timeout=start_timeout,
        mailbox=mailbox,
        overflow=overflow,
        mail_on_restart=mail_on_restart,
        mail_on_stop=mail_on_stop,
    )
