"""The actor that watches services: `HealthMonitor`."""

import math
from collections.abc import Collection, Mapping

import attrs
import trio

from resprout.actors.monitor.board import HealthBoard, Place, face_at
from resprout.actors.monitor.events import HealthChanged, MonitorPaused, RecoveryAsked
from resprout.actors.monitor.health import Health, Readiness, should_ask
from resprout.actors.monitor.policy import DEFAULT_MONITOR, MAX_PAUSE, MonitorPolicy
from resprout.runtime.actor import Actor
from resprout.runtime.errors import ReplyError, ResproutError, Unavailable


class PauseError(ReplyError, ValueError):
    """A pause must have an end within a day."""


@attrs.define
class HealthMonitor(Actor):
    """Checks each of *services* along its real path, asks for recovery, and knows whether the application is ready.

    It cannot be switched off: a pause has an end, and a monitor that crashed is restarted without the pause.
    No check can harm it: each service has a task of its own, each check a deadline, and whatever a check
    raises is a reason why that service is not ok.

    Attributes:
        services: Names of services, and where their owners are: ``{"redis": REDIS, "auth": AUTH}``.
        required: Those without which the application is not ready; None for all.
        policy: Intervals and deadlines.

    Raises:
        ValueError: If a required service is not among *services*.
    """

    services: Mapping[str, Place]
    required: Collection[str] | None = None
    policy: MonitorPolicy = DEFAULT_MONITOR
    _board: HealthBoard = attrs.field(init=False, repr=False)
    _told: dict[str, bool] = attrs.field(init=False, repr=False, factory=dict)
    _pause_changed: trio.Event = attrs.field(init=False, repr=False, factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        unwatched = set(self.required or ()) - set(self.services)
        if unwatched:
            raise ValueError(f"required but not watched: {', '.join(sorted(unwatched))}")

    async def on_start(self) -> None:
        required = self.services if self.required is None else self.required
        self._board = HealthBoard(self.services, required, self.policy)
        self.context.offer(self._board)
        for name, place in self.services.items():
            self.context.start_soon(self._watch, name, place)

    async def readiness(self) -> Readiness:
        """Whether the application can do its work now. Without a message: ``MONITOR.offered(HealthBoard)``."""
        return self._board.readiness()

    async def pause(self, seconds: float, *, by: str = "", reason: str = "") -> None:
        """Check nothing for *seconds*, and then go on; readiness still shows what owners know by themselves.

        Raises:
            PauseError: If *seconds* is not positive, or is more than a day.
        """
        if not 0 < seconds <= MAX_PAUSE:
            raise PauseError(f"a pause must last more than 0 and at most {MAX_PAUSE:g} s, not {seconds}")
        self._pause(seconds, by, reason)

    async def resume(self) -> None:
        """End a pause now."""
        self._pause(0.0, "", "resumed")

    def _pause(self, seconds: float, by: str, reason: str) -> None:
        self._board.paused_until = trio.current_time() + seconds
        changed, self._pause_changed = self._pause_changed, trio.Event()
        changed.set()
        self.context.emit(MonitorPaused(actor=self.context.path, seconds=seconds, by=by, reason=reason))

    async def _watch(self, name: str, place: Place) -> None:
        """Check one service for ever."""
        while True:
            while self._board.paused_for > 0:
                with trio.move_on_after(self._board.paused_for):
                    await self._pause_changed.wait()
            error = await self._check(place, thorough=self._is_round(name))
            self._note(name, place, error)
            await trio.sleep(self._interval(self._board.health[name]))

    def _is_round(self, name: str) -> bool:
        """Whether it is time for a real round trip; between rounds a service in trouble is only looked at."""
        health = self._board.health[name]
        return health.ok or trio.current_time() - health.asked_at >= self.policy.every

    async def _check(self, place: Place, *, thorough: bool) -> Exception | None:
        await trio.lowlevel.checkpoint()
        try:
            with trio.fail_after(self.policy.check_timeout):
                face = face_at(place)
                if face is None:
                    return Unavailable(place.path, "its actor is not running")
                if not thorough and (trouble := face.trouble()):
                    return ResproutError(trouble)
                await face.check()
        except trio.TooSlowError:
            return TimeoutError(f"the check took longer than {self.policy.check_timeout:g} s")
        except Exception as error:  # noqa: BLE001 - a bad check never harms the monitor.
            return error
        return None

    def _note(self, name: str, place: Place, error: Exception | None) -> None:
        before, after = self._board.write(name, error)
        # A connection that still makes its first attempt is no news; at the second look it is.
        is_news = after.ok or before.checked_at > -math.inf
        if is_news and self._told.get(name) is not after.ok:
            self._told[name] = after.ok
            self.context.emit(
                HealthChanged(actor=self.context.path, service=name, ok=after.ok, why=after.why)
            )
        if should_ask(after, after.checked_at, self.policy):
            self._board.asked(name)
            self._ask_to_recover(name, place, after.why)

    def _ask_to_recover(self, name: str, place: Place, why: str) -> None:
        try:
            face = face_at(place)
            if face is None:
                return
            face.nudge()
        except Exception as error:  # noqa: BLE001 - a bad owner never harms the monitor.
            self.context.log.warning("a service cannot be asked to recover", service=name, error=repr(error))
        else:
            self.context.emit(RecoveryAsked(actor=self.context.path, service=name, why=why))

    def _interval(self, health: Health) -> float:
        if not health.ok:
            return self.policy.recheck_every
        jitter = self.policy.jitter
        return self.policy.every * self.context.random.uniform(1 - jitter, 1 + jitter)
