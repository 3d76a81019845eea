"""What application code derives from.

Messages are method calls: every public `async` method of an actor is one, and its name with its arguments is
what travels. Names with a leading underscore and the hooks below are not callable from outside.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

from resprout.runtime.errors import LinkedExit
from resprout.runtime.exits import Normal, Shutdown
from resprout.runtime.signals import ChildExit, Signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from resprout.runtime.context import Context
    from resprout.runtime.exits import ExitReason

    Handler = Callable[..., Awaitable[object]]


HOOKS = frozenset(("on_start", "on_stop", "on_signal"))


class Actor:
    """Handles one message at a time; only its own methods touch its state.

    Derive, usually with `attrs.define`, and add public `async` methods. An exception that leaves a method
    crashes the actor and the supervisor starts a fresh one, except a `ReplyError` (or a group of nothing
    else), which is an answer: it is raised in the caller and the actor lives. What must survive a restart
    belongs in another actor or a store.
    """

    __slots__ = ("__weakref__", "context")

    _hooks: ClassVar[frozenset[str]] = HOOKS

    context: Context[Self]
    """The actor's own ref, timers, children and log; set before `on_start`."""

    async def on_start(self) -> None:
        """Prepare; runs before the first message. Raising fails the start. Must not wait for a remote."""

    async def on_stop(self, reason: ExitReason) -> None:
        """Clean up after an asked stop or a crash, within the child's shutdown time. Not run after a kill."""

    async def on_signal(self, signal: Signal) -> None:
        """React to `Down`, `ChildExit` and other notices.

        By default the unclean end of a spawned child crashes this actor, and other notices are dropped.
        """
        match signal:
            case ChildExit(reason=Normal() | Shutdown()):
                pass
            case ChildExit(ref=ref, reason=reason):
                raise LinkedExit(ref.path, reason)
            case _:
                self.context.log.debug("signal dropped", signal=signal)

    def describe_state(self) -> Mapping[str, object]:
        """Values that a crash report may show; none by default.

        What has a name that sounds like a secret is masked, also inside of a value, as far as its `repr` shows
        names: of fields, keys and pairs.
        """
        return {}

    # For the engine.

    def _start_up(self) -> Awaitable[None]:
        """`on_start`, and what a kind of actor needs besides."""
        return self.on_start()

    def _check_then(self) -> None:
        """Raise `RuntimeError` where this kind of actor has no use for `Context.then`."""

    @classmethod
    def _handler(cls, method: Handler) -> Handler:
        """*method* as the message loop calls it."""
        return method


_tables: WeakKeyDictionary[type[Actor], Mapping[str, Handler]] = WeakKeyDictionary()


def protocol_of(cls: type[Actor]) -> Mapping[str, Handler]:
    """The messages *cls* understands, by name.

    >>> class Door(Actor):
    ...     async def open(self) -> None: ...
    ...     async def _oil(self) -> None: ...
    >>> sorted(protocol_of(Door))
    ['open']
    """
    table = _tables.get(cls)
    if table is None:
        table = _tables[cls] = {
            name: cls._handler(method) for name, method in _methods(cls) if name not in cls._hooks
        }
    return table


def _methods(cls: type[Actor]) -> list[tuple[str, Any]]:
    members = ((name, getattr(cls, name)) for name in dir(cls) if not name.startswith("_"))
    return [(name, member) for name, member in members if inspect.iscoroutinefunction(member)]
