"""One actor, from its making to its end.

Why it ended is read from `fate`, which is set by whoever cancels its scope, and never from the exception that
came out: a task may swallow Cancelled, or raise something else while it is being cancelled.
"""

from __future__ import annotations

import math
from types import MethodType
from typing import TYPE_CHECKING, cast

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, wait_task_rescheduled

from resprout.runtime.actor import Actor, protocol_of
from resprout.runtime.context import Context
from resprout.runtime.crash import PutAside, crash_of, only_put_aside, only_replies
from resprout.runtime.crashreport import report_of
from resprout.runtime.errors import (
    ActorCrashed,
    ActorStopped,
    Ignore,
    ReplyError,
    StartTimeout,
    UnknownMessageError,
)
from resprout.runtime.exits import Crashed, ExitReason, Ignored, Killed, Normal, Shutdown
from resprout.runtime.life import Life
from resprout.runtime.lifecycle import ActorExited, ActorStarted, CastFailed
from resprout.runtime.message import Call
from resprout.runtime.orders import ControlOrder
from resprout.runtime.recipe import BrutalKill
from resprout.runtime.reply import PROMISED
from resprout.runtime.signals import Continuation, StopOrder
from resprout.runtime.timers import Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resprout.runtime.actor import Handler
    from resprout.runtime.cell import Cell
    from resprout.runtime.deadlines import Alarm
    from resprout.runtime.idle import IdleTimer
    from resprout.runtime.message import Message
    from resprout.runtime.reply import Promises
    from resprout.runtime.signals import Signal

BATCH = 32  # Messages between two checkpoints: most of the gain of 64, half of its unfairness.


class Incarnation:
    """The actor that fills *cell* for a while."""

    __slots__ = (
        "actor",
        "cell",
        "current",
        "fate",
        "handlers",
        "idle",
        "interruptible",
        "over",
        "promises",
        "ready_at",
        "scope",
        "suspended",
    )

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.actor: Actor | None = None
        self.scope: trio.CancelScope | None = None
        self.fate: ExitReason | None = None
        self.current: Message | None = None  # The message in work.
        self.interruptible = False  # Whether a stop order cancels at once, as during `on_start`.
        self.ready_at: float | None = None  # When `on_start` had returned.
        self.over = False  # Whether its context may do nothing any more.
        self.suspended = False  # Whether mail and notices wait until it is resumed.
        self.handlers: Mapping[str, Handler] = {}
        # Most actors need neither of these: made when asked for.
        self.idle: IdleTimer | None = None
        self.promises: Promises | None = None  # Calls that will be answered later.

    def strike(self, fate: ExitReason) -> None:
        """Cancel; *fate* says why. The first fate counts, but a kill counts above all.

        Once it stops, only a kill cancels: another fate must not cut `on_stop` short, and is told at the end.
        """
        if isinstance(self.fate, Killed) or (self.fate is not None and not isinstance(fate, Killed)):
            return
        self.fate = fate
        cell = self.cell
        if isinstance(fate, Killed):
            cell.system.stopping.note_kill(cell)
        if cell.ending_since is None:
            cell.ending_since = trio.current_time()
        if cell.life is Life.STOPPING and not isinstance(fate, Killed):
            return
        if cell.life is Life.RUNNING:
            # The task may be about to take a message; none may begin from now on.
            cell.mailbox.overrule(StopOrder(reason=fate))
        if self.scope is not None:
            self.scope.cancel(reason=str(fate))
        else:
            cell.mailbox.wake()  # It has never had anything to do.
        cell.watch_end()

    async def live(self) -> ExitReason:
        """The whole life. Raises nothing but a cancellation of the whole runtime."""
        cell = self.cell
        cell.life = Life.STARTING
        reason: ExitReason | None = None
        try:
            actor = self._make()
            if type(actor).on_start is Actor.on_start:
                self._has_started()
                reason = await self._wait_for_first_mail()
            if reason is None:
                with trio.CancelScope() as self.scope:
                    if cell.life is Life.STARTING:
                        await self._start_hook(actor, cell.recipe.start_timeout)
                        self._has_started()
                    reason = await self._serve(actor)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an actor raises is its crash, and stays here.
            reason = self._ended_by(error)
        started = cell.life is Life.RUNNING
        reason = self.fate or reason or Killed("cancelled from outside")
        cell.life, self.interruptible = Life.STOPPING, False
        if cell.ending_since is None:
            cell.ending_since = trio.current_time()
        if cell.parent is None:
            cell.system.stopping.begin(cell, reason)
        if self.idle is not None:
            self.idle.cancel()
        message = self._give_up_message(reason)
        if started:
            reason = await self._stop_hook(reason)
        self.scope = None
        await cell.wind_up(self, killed=isinstance(self.fate, Killed))
        if isinstance(self.fate, Killed) or (self.fate is not None and isinstance(reason, Normal | Shutdown)):
            reason = self.fate  # It came while the actor was stopping.
        self._announce(reason, message)
        return reason

    def _ended_by(self, error: BaseException) -> ExitReason:
        if isinstance(error, Ignore) and self.cell.life is Life.STARTING:
            return Ignored(error.why)
        return self._crashed(error)

    def _crashed(self, error: BaseException) -> Crashed:
        """KeyboardInterrupt, SystemExit and their like end the whole tree, in order."""
        if not isinstance(error, Exception):
            self.cell.system.fatal(error)
        return crash_of(error)

    def _make(self) -> Actor:
        """Make the actor; it has not started yet."""
        cell = self.cell
        self.interruptible = True
        actor = cell.recipe.start()
        if not isinstance(actor, Actor):
            raise TypeError(f"the start of {cell.path} returned {actor!r}, which is not an Actor")
        actor.context = Context(cell, self)
        self.actor = actor
        self.handlers = protocol_of(type(actor))
        if cell.system.observers:
            cell.system.observe_again(self)
        return actor

    def _has_started(self) -> None:
        cell = self.cell
        self.interruptible = False
        self.ready_at = trio.current_time()
        cell.life = Life.RUNNING
        cell.answer_starter()
        if cell.system.events.heard:
            cell.system.events.emit(ActorStarted(actor=cell.path, generation=cell.generation))

    async def _wait_for_first_mail(self) -> ExitReason | None:
        """Sleep until there is something to do; returns why it ends if that is to stop.

        Without a cancel scope, which is a third of what a waiting actor costs: nothing here can outlast its waking.
        """
        mailbox = self.cell.mailbox
        while not mailbox.queue and not mailbox.control:
            mailbox.sleeper = self.cell.task
            await wait_task_rescheduled(mailbox.abort_sleep)
        if mailbox.control and type(mailbox.control[0]) is StopOrder:
            return mailbox.control[0].reason
        return None

    async def _start_hook(self, actor: Actor, timeout: float) -> None:
        """Run `on_start`, within its time."""
        if timeout == math.inf:
            await actor._start_up()
        else:
            too_late = Crashed(StartTimeout(self.cell.path, timeout))
            clock = self.cell.system.clock
            alarm = clock.at(trio.current_time() + timeout, lambda: self.strike(too_late), self.cell)
            try:
                await actor._start_up()
            finally:
                alarm.cancel()
        await checkpoint_if_cancelled()  # A start that swallowed its cancellation has failed all the same.

    async def _serve(self, actor: Actor) -> ExitReason:
        """Handle messages one at a time until a stop order; the hottest loop of the runtime."""
        cell = self.cell
        mailbox = cell.mailbox
        queue = mailbox.queue
        handlers = self.handlers
        # The last message's method, bound: to call it costs two thirds of passing the actor with the arguments.
        name, method = "", cast("Handler", None)  # No message has an empty name.
        left = BATCH
        signal: Signal | None
        message: Message | None
        result: object
        while True:  # noqa: ASYNC913 - it waits for mail, or checkpoints after a batch.
            if mailbox.control:
                signal = mailbox.control.popleft()
                if type(signal) is StopOrder:
                    return signal.reason
                if type(signal) is ControlOrder:
                    signal.obey(self)
                    if self.suspended:
                        stop = await self._wait_for_resume()
                        if stop is not None:
                            return stop.reason
                    handlers, name = self.handlers, ""  # Observers may have come or gone.
                    continue
                if not isinstance(signal, Continuation):
                    if cell.system.observers:
                        cell.system.tell_observer(cell, signal)
                    await actor.on_signal(signal)
                    left -= 1  # A reaction may cause the next signal at once: a monitor of one that is down.
                    if left <= 0:
                        left = BATCH
                        await checkpoint()
                    continue
                if any(type(waiting) is StopOrder for waiting in mailbox.control):
                    continue  # It ends with the incarnation; an endless chain must not hold up the stop.
                follows = signal.take()
                if follows is None:
                    continue
                message = follows
            elif not queue:
                message = result = signal = follows = None  # An idle actor keeps nothing alive.
                if self.idle is not None:
                    self.idle.sleeping()
                mailbox.sleeper = cell.task
                await wait_task_rescheduled(mailbox.abort_sleep)
                if self.idle is not None:
                    self.idle.woken()
                left = BATCH
                continue
            else:
                message = queue.popleft()
                if mailbox.blocked and len(queue) <= mailbox.ebb:
                    mailbox.admit()
            if type(message) is Call:
                if message.task is None:
                    mailbox.skipped_withdrawn()
                    continue
                message.started = True
            try:
                if message.method is not name:
                    method = MethodType(handlers[message.method], actor)
                    name = message.method
                work = method(*message.args, **message.kwargs)
            except (KeyError, TypeError) as error:
                self._refuse(message, error)
                continue
            self.current = message
            try:
                result = await work
            except ReplyError as error:
                self._answer(message, error)
            except ExceptionGroup as group:  # What a handler's nursery makes of a reply error.
                self._answer(message, only_replies(group))
            except (PutAside, BaseExceptionGroup) as raised:
                only_put_aside(raised)
                mailbox.stash(message)
            else:
                if type(message) is Call and result is not PROMISED:
                    message.reply(result)
            self.current = None
            left -= 1
            if left <= 0:
                left = BATCH
                await checkpoint()

    async def _wait_for_resume(self) -> StopOrder | None:
        """Obey nothing but orders, until it is resumed or, which is returned, told to stop."""
        mailbox = self.cell.mailbox
        while self.suspended:
            order = mailbox.take_order()
            if order is None:
                mailbox.sleeper = self.cell.task
                await wait_task_rescheduled(mailbox.abort_sleep)
            elif isinstance(order, ControlOrder):
                order.obey(self)
            else:
                return order
        await checkpoint()
        return None

    def _refuse(self, message: Message, error: Exception) -> None:
        """No such method, or not these arguments: the sender's mistake, not the actor's."""
        why = "no such public async method" if isinstance(error, KeyError) else str(error)
        refusal = UnknownMessageError(self.cell.path, message.method, why)
        if type(message) is Step:
            raise refusal from error  # Except here: the actor asked for it itself.
        self._answer(message, refusal)

    def give(self, message: Message | None, result: object) -> None:
        """Answer *message* before its method is left: what a state machine does next is not for its caller."""
        if type(message) is Call and result is not PROMISED:
            message.reply(result)

    def _answer(self, message: Message | None, error: Exception) -> None:
        if isinstance(message, Call):
            message.fail(error)
        elif message is not None:
            self.cell.system.events.emit(CastFailed(actor=self.cell.path, method=message.method, error=error))

    def _give_up_message(self, reason: ExitReason) -> str | None:
        """Tell whoever waits for the message in work that no answer comes; returns the message's name.

        `ActorStopped` would promise that it did not run, so that is only the cause.
        """
        message, self.current = self.current, None
        if isinstance(message, Call) or self.promises is not None:
            path = self.cell.path
            cause = reason.error if isinstance(reason, Crashed) else ActorStopped(path, reason)
            if isinstance(message, Call):
                message.fail(ActorCrashed(path, cause))
            if self.promises is not None:
                self.promises.break_all(ActorCrashed(path, cause))
        return message.method if message is not None else None

    async def _stop_hook(self, reason: ExitReason) -> ExitReason:
        """Run `on_stop` unless it was killed; its exception replaces the reason, as in OTP."""
        actor, shutdown = self.actor, self.cell.recipe.shutdown
        if actor is None or isinstance(reason, Killed) or type(actor).on_stop is Actor.on_stop:
            return reason
        if isinstance(shutdown, BrutalKill):
            return reason
        self.cell.watch_end(shutdown)
        # An alarm in place of the scope's own deadline: it sees where the actor waits before it is cancelled.
        alarm = self._end_stop_hook_in(shutdown)
        try:
            with trio.CancelScope() as self.scope:
                if shutdown <= 0:
                    self.scope.cancel(reason="no time to stop")
                await actor.on_stop(reason)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - as above.
            if isinstance(reason, Crashed) and error.__context__ is None:
                error.__context__ = reason.error  # The report tells both.
            return self._crashed(error)
        finally:
            if alarm is not None:
                alarm.cancel()
        if self.scope.cancel_called and not isinstance(reason, Crashed):
            return Killed("on_stop took too long")
        return reason

    def _end_stop_hook_in(self, seconds: float) -> Alarm | None:
        if not 0 < seconds < math.inf:
            return None

        def ring() -> None:
            if self.scope is not None and not self.scope.cancel_called:
                self.cell.system.stopping.note_kill(self.cell)
                self.scope.cancel(reason="on_stop took too long")

        return self.cell.system.clock.at(trio.current_time() + seconds, ring, self.cell)

    def _announce(self, reason: ExitReason, message: str | None) -> None:
        cell = self.cell
        cell.ended_with(reason, self.ready_at)
        if cell.system.events.heard:
            expected = cell.expects(reason)
            report = None
            if isinstance(reason, Crashed) or (isinstance(reason, Killed) and not expected):
                report = report_of(
                    cell.path,
                    reason,
                    self.actor,
                    generation=cell.generation,
                    uptime=cell.lived,
                    message=message,
                    restarts=cell.restarts,
                    recent_restarts=cell.recent_restarts,
                )
            event = ActorExited(
                actor=cell.path,
                generation=cell.generation,
                reason=reason,
                message=message,
                expected=expected,
                report=report,
            )
            cell.system.events.emit(event)
