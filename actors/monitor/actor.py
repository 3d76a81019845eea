"""The actor that watches services: `HealthMonitor`."""

import math
from collections.abc import Collection, Mapping

import attrs
import trio

from resprout.actors.monitor.board import HealthBoard, Place, face_at, trouble_at
from resprout.actors.monitor.events import HealthChanged, MonitorPaused, MonitorResumed, RecoveryAsked
from resprout.actors.monitor.health import Health, Readiness, should_ask
from resprout.actors.monitor.policy import DEFAULT_MONITOR, MAX_PAUSE, MonitorPolicy
from resprout.actors.monitor.pulse import BEAT_EVERY, MonitorHung, Pulse, felt, overdue
from resprout.runtime.actor import Actor
from resprout.runtime.errors import ReplyError, ResproutError, Unavailable


class PauseError(ReplyError, ValueError):
    """A pause must have an end within a day, and somebody who asked for it."""


@attrs.define
class HealthMonitor(Actor):
    """Checks each of *services* along its real path, asks for recovery, and knows whether the application is ready.

    It cannot be switched off: a pause has an end, and a monitor that crashed, was suspended or hangs is restarted
    without the pause. No check can harm it: each service has a task of its own, each check a deadline, and
    whatever a check raises is a reason why that service is not ok.

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
    _pausing: bool = attrs.field(init=False, repr=False, default=False)
    _beats: int = attrs.field(init=False, repr=False, default=0)
    _turns: dict[str, float] = attrs.field(init=False, repr=False, factory=dict)
    _in_check: set[str] = attrs.field(init=False, repr=False, factory=set)

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
        self.context.every(BEAT_EVERY, HealthMonitor.beat)
        self.context.start_soon(self._crash_if_hung)

    async def readiness(self) -> Readiness:
        """Whether the application can do its work now. Without a message: ``MONITOR.offered(HealthBoard)``."""
        return self._board.readiness()

    async def pause(self, seconds: float, *, by: str, reason: str = "") -> None:
        """Check nothing for *seconds*, and then go on; readiness still shows what owners know by themselves.

        A pause during a pause takes its place.

        Args:
            seconds: From now.
            by: Who wants it.
            reason: What for.

        Raises:
            PauseError: If *seconds* is not positive, or is more than a day, or nobody is named.
        """
        if not 0 < seconds <= MAX_PAUSE:
            raise PauseError(f"a pause must last more than 0 and at most {MAX_PAUSE:g} s, not {seconds}")
        if not by.strip():
            raise PauseError("a pause needs somebody who asked for it: pause(seconds, by='ann')")
        self._pause_until(trio.current_time() + seconds, by)
        self.context.emit(MonitorPaused(actor=self.context.path, seconds=seconds, by=by, reason=reason))
        if not self._pausing:
            self._pausing = True
            self.context.start_soon(self._tell_when_resumed)

    async def resume(self, *, by: str = "") -> None:
        """End a pause now; nothing if there is none."""
        if self._board.paused_for > 0:
            self._pause_until(trio.current_time(), by)

    async def beat(self) -> None:
        """Show that the mailbox is served. A timer sends this; three in a row that are missed mean a restart."""
        self._beats += 1

    def _pause_until(self, moment: float, by: str) -> None:
        self._board.paused_until, self._board.paused_by = moment, by
        changed, self._pause_changed = self._pause_changed, trio.Event()
        changed.set()

    async def _wait_out_pause(self) -> None:
        while self._board.paused_for > 0:
            with trio.move_on_after(self._board.paused_for):
                await self._pause_changed.wait()

    async def _tell_when_resumed(self) -> None:
        until = self._board.paused_until
        while self._board.paused_for > 0:
            until = self._board.paused_until
            with trio.move_on_at(until):
                await self._pause_changed.wait()
        self._pausing = False
        # By itself, or by whoever cut it short.
        by = self._board.paused_by if self._board.paused_until < until else ""
        self.context.emit(MonitorResumed(actor=self.context.path, by=by))

    async def _crash_if_hung(self) -> None:
        pulse = Pulse()
        while True:
            await trio.sleep(BEAT_EVERY)
            now, resumed_at = trio.current_time(), self._board.paused_until
            late = overdue(self._turns, self._in_check, resumed_at, now, self.policy)
            pulse = felt(pulse, self._beats, late)
            if pulse.is_lost:
                raise MonitorHung(f"the monitor hangs: {pulse.why}")

    async def _watch(self, name: str, place: Place) -> None:
        """Check one service for ever."""
        while True:
            await self._wait_out_pause()
            self._turns[name] = trio.current_time()
            self._in_check.add(name)
            error = await self._check(place, thorough=self._is_round(name))
            self._in_check.discard(name)
            self._note(name, place, error)
            await trio.sleep(self._interval(self._board.health[name]))

    def _is_round(self, name: str) -> bool:
        """Whether it is time for a real round trip; between rounds a service in trouble is only looked at."""
        health = self._board.health[name]
        return health.ok or trio.current_time() - health.asked_at >= self.policy.every

    async def _check(self, place: Place, *, thorough: bool) -> Exception | None:
        """Ask once, and if that fails though the owner knows of no trouble, once more: one miss is no outage."""
        error = await self._look(place, thorough=thorough)
        if error is not None and thorough and trouble_at(place) == "":
            return await self._look(place, thorough=True)
        return error

    async def _look(self, place: Place, *, thorough: bool) -> Exception | None:
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
