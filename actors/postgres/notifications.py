"""LISTEN on a connection of its own, which is made anew for as long as somebody listens.

Postgres keeps no notifications for a listener that is away. So after every loss, once the channels are listened
to again, a `Missed` says that there may be a gap: whoever mirrors something reads it anew.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from resprout.actors.connection.events import AttemptFailed, LinkLost
from resprout.actors.connection.failure_kind import kind_of
from resprout.actors.postgres.driver import ConnectionLost
from resprout.actors.postgres.echo import echo
from resprout.runtime.backoff import delay
from resprout.runtime.classify import is_programming_error, unwrapped

if TYPE_CHECKING:
    from resprout.actors.postgres.driver import DriverConnection
    from resprout.actors.postgres.setting import Setting
    from resprout.runtime.errors import ServiceError


@attrs.frozen
class Notification:
    """NOTIFY *channel*, *payload*, by the server's process *pid*."""

    channel: str
    payload: str
    pid: int


@attrs.frozen
class Missed:
    """Notifications may have been missed before this point: read anew what they keep you informed of.

    Attributes:
        why: The connection was lost, or the buffer was full.
        dropped: How many the buffer had no room for; what was sent while there was no connection nobody counts.
    """

    why: str
    dropped: int = 0


Notice: TypeAlias = Notification | Missed


class Notifications:
    """What is heard, in order, for one task: ``async for notice in notifications``.

    It ends with the pool alone: once what was heard is taken, it raises `Draining` or `Unavailable`.
    """

    def __init__(self, buffer: int) -> None:
        if buffer < 1:
            raise ValueError(f"buffer must be at least 1, not {buffer}")
        self._limit = buffer
        self._waiting: deque[Notice] = deque()
        self._some = trio.Event()
        self._why_over: ServiceError | None = None

    def __aiter__(self) -> Notifications:
        return self

    async def __anext__(self) -> Notice:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            self._check()
            self._some = trio.Event()
            await self._some.wait()
        return self._waiting.popleft()

    def _put(self, notice: Notice) -> None:
        """Add one. A full buffer is emptied: what it held is covered by the `Missed` in its place."""
        if len(self._waiting) >= self._limit:
            lost = sum(1 if isinstance(each, Notification) else each.dropped for each in self._waiting)
            lost += isinstance(notice, Notification)
            self._waiting.clear()
            notice = Missed(f"more than {self._limit} notifications waited to be taken", lost)
        self._waiting.append(notice)
        self._some.set()

    def _end(self, why: ServiceError) -> None:
        """Nothing more will be heard."""
        self._why_over = why
        self._some.set()

    def _check(self) -> None:
        if self._why_over is not None:
            raise self._why_over


class Listener:
    """Keeps a connection on which *channels* are listened to, and hands on what it hears."""

    def __init__(self, setting: Setting, channels: tuple[str, ...], notifications: Notifications) -> None:
        if not channels or not all(channels):
            raise ValueError("name at least one channel, and none that is empty")
        self._setting, self._channels, self._notifications = setting, channels, notifications
        self._failures = 0
        self._heard_before = False
        self.listening = trio.Event()
        self.last_error: Exception | None = None

    async def run(self) -> None:
        """Listen until cancelled; there is no last attempt."""
        setting = self._setting
        while True:
            error = await self._one_life()
            if is_programming_error(error):
                raise error
            self._failures, self.last_error = self._failures + 1, error
            pause = delay(setting.policy.keeper.backoff, self._failures, setting.random)
            setting.emit(
                AttemptFailed(
                    actor=setting.actor,
                    service=setting.service,
                    attempt=self._failures,
                    error=error,
                    kind=kind_of(error),
                    retry_after=pause,
                )
            )
            await trio.sleep(pause)

    async def _one_life(self) -> Exception:
        """One attempt and the life of its connection; returns what ended it."""
        failure: Exception = ConnectionError("the connection was closed")
        try:
            async with trio.open_nursery() as nursery:
                try:
                    await self._listen(nursery)
                except Exception as error:  # noqa: BLE001 - judged by `run`.
                    failure = error
                nursery.cancel_scope.cancel()
        except* Exception as group:  # noqa: BLE001 - as above.
            failure = unwrapped(group)
        return failure

    async def _listen(self, nursery: trio.Nursery) -> None:
        setting, keeper, lost = self._setting, self._setting.policy.keeper, trio.Event()
        with trio.fail_after(keeper.attempt_timeout):
            connection = await setting.driver.connect(
                await setting.dsn(), nursery, lost.set, name=f"resprout {setting.actor} listens"
            )
            began = trio.current_time()
            try:
                for channel in self._channels:
                    await connection.listen(channel, self._hear)
                await echo(connection)
            except BaseException:
                connection.terminate()
                raise
        if self._heard_before:
            self._notifications._put(Missed(f"the connection was lost: {self.last_error}"))
        self._heard_before, self._failures = True, 0
        self.listening.set()
        try:
            await self._watch(connection, lost)
        except Exception as error:
            up_for = trio.current_time() - began
            setting.emit(LinkLost(actor=setting.actor, service=setting.service, error=error, up_for=up_for))
            raise
        finally:
            connection.terminate()

    async def _watch(self, connection: DriverConnection, lost: trio.Event) -> None:
        """Probe the connection, since one that hears nothing may be dead, until it is."""
        keeper, random = self._setting.policy.keeper, self._setting.random
        while True:
            share = random.uniform(-keeper.probe_jitter, keeper.probe_jitter)
            with trio.move_on_after(keeper.probe_every * (1 + share)):
                await lost.wait()
            if lost.is_set():
                raise ConnectionError("the server closed the connection")
            try:
                with trio.fail_after(keeper.probe_timeout):
                    await echo(connection)
            except ConnectionLost as error:
                raise ConnectionError(str(error)) from error

    def _hear(self, channel: str, payload: str, pid: int) -> None:
        self._notifications._put(Notification(channel, payload, pid))
