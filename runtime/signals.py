"""Notices in an actor's control lane; they overtake all mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

if TYPE_CHECKING:
    from resprout.runtime.actor import Actor
    from resprout.runtime.exits import ExitReason
    from resprout.runtime.message import Message
    from resprout.runtime.ref import Ref


@attrs.frozen(kw_only=True)
class Signal:
    """Base of what arrives in `Actor.on_signal`."""

    is_order: ClassVar[bool] = False
    """Whether it is for the engine, and obeyed even while the actor is suspended."""

    def forget(self, actor: str) -> None:
        """The incarnation at *actor* ended without having seen it."""


@attrs.frozen(kw_only=True)
class Down(Signal):
    """The monitored actor's incarnation ended; sent once per monitor, also if it will be restarted."""

    ref: Ref[Actor]
    reason: ExitReason


@attrs.frozen(kw_only=True)
class ChildExit(Signal):
    """A child started with `Context.spawn` ended by itself. Unhandled, an unclean end crashes the parent."""

    ref: Ref[Actor]
    reason: ExitReason


@attrs.frozen(kw_only=True)
class PeerExit(Signal):
    """A linked actor ended, in whatever way; only for those that trap exits (`Context.trap_exits`)."""

    ref: Ref[Actor]
    reason: ExitReason


@attrs.frozen(kw_only=True)
class StopOrder(Signal):
    """End with *reason* when the message in work is done. Never reaches `on_signal`."""

    is_order = True

    reason: ExitReason


@attrs.frozen(kw_only=True, eq=False)
class Continuation(Signal):
    """A message to be handled before all else. Never reaches `on_signal`."""

    def take(self) -> Message | None:
        """The message, if there is one (any more)."""
        return None

    def is_behind(self, signal: Signal) -> bool:
        """Whether *signal*, which waits before all others, comes before this."""
        return isinstance(signal, Continuation)


@attrs.frozen(kw_only=True, eq=False)
class Follow(Continuation):
    """Run *message*; *asked_by* is the message in work that wanted it, None in a hook."""

    message: Message
    asked_by: Message | None

    def take(self) -> Message:
        return self.message

    def is_behind(self, signal: Signal) -> bool:
        return isinstance(signal, Follow) and signal.asked_by is self.asked_by
