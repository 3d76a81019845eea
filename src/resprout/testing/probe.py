"""An actor under the control of a test, in the place of a real one.

    mailer = Probe(Mailer)
    tree = supervisor("app", mailer.child("mailer", name=MAILER), child("shop", Shop))
    async with testing.runtime(tree):
        mailer.replies(Mailer.send, True)
        SHOP.cast(Shop.order, "a book")
        await mailer.expect(Mailer.send, "ann", "your book is on its way")

The probe understands the messages of the class it stands for, arguments included, and has none of its code.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import attrs
import trio

from resprout.runtime import Actor, Name, ReplyError
from resprout.runtime.actor import protocol_of
from resprout.runtime.message import Call
from resprout.supervisors import PERMANENT, ChildSpec, RestartType, child
from resprout.testing.opening import account, current_runtime
from resprout.testing.waiting import WaitedInVain, positive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 3.0


class NothingScripted(ReplyError):
    """A probe was called and no test had said what it answers; see `Probe.replies`."""


@attrs.frozen
class Received:
    """One message a probe got: the method's name, its arguments, when, and whether its sender waits."""

    method: str
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    at: float
    is_call: bool

    def __str__(self) -> str:
        shown = [repr(arg) for arg in self.args] + [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"{self.method}({', '.join(shown)})"


class Probe(Generic[A]):
    """Stands for an actor of class *A*: records its messages, answers as it is told.

    One probe may outlive many incarnations of its actor; what it recorded and was told stays.

    Args:
        cls: The class it stands for.

    Attributes:
        received: Every message so far, the oldest first, expected or not.
    """

    def __init__(self, cls: type[A]) -> None:
        self.cls = cls
        self.received: list[Received] = []
        self._unread: deque[Received] = deque()
        self._scripts: dict[str, Callable[..., Awaitable[object]]] = {}
        self._patience = PATIENCE
        self._arrivals = trio.lowlevel.ParkingLot()
        self._actor = _actor_class(self)

    # In a tree.

    def start(self) -> A:
        """A fresh actor: ``child(id, probe.start, …)`` with all options of `child`."""
        return cast("A", self._actor())

    def child(self, id: str, *, name: Name[A] | None = None, restart: RestartType = PERMANENT) -> ChildSpec:
        """The probe as a child, found under *name* by those who look for the real one."""
        return child(id, self.start, name=name, restart=restart)

    # What it answers.

    def replies(self, method: Callable[Concatenate[A, P], Awaitable[T]], value: T, *more: T) -> None:
        """Answer calls of *method* with *value*, the next ones with *more*; the last one is repeated."""
        values = deque((value, *more))

        async def script(*args: object, **kwargs: object) -> T:
            return values.popleft() if len(values) > 1 else values[0]

        self._scripts[self._known(method)] = script

    def fails(self, method: Callable[Concatenate[A, P], Awaitable[object]], error: Exception) -> None:
        """Answer *method* with *error* if it is a `ReplyError`; crash of it otherwise."""

        async def script(*args: object, **kwargs: object) -> object:
            raise error

        self._scripts[self._known(method)] = script

    def runs(
        self, method: Callable[Concatenate[A, P], Awaitable[T]], stand_in: Callable[P, Awaitable[T]]
    ) -> None:
        """Answer *method* with what *stand_in* returns; it may take its time, hang or raise."""
        self._scripts[self._known(method)] = stand_in

    # What it got.

    def within(self, seconds: float) -> Probe[A]:
        """The same probe with another patience than 3 s: ``await probe.within(60).expect(…)``."""
        other = copy.copy(self)  # What it received and was told is shared.
        other._patience = positive(seconds)
        return other

    async def expect(
        self, method: Callable[Concatenate[A, P], Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Received:
        """Wait for the next message and check that it is *method* with these arguments, however they were given.

        Raises:
            AssertionError: It is another one; or none came (`WaitedInVain`).
        """
        name = self._known(method)
        wanted = Received(name, args, kwargs, math.nan, is_call=False)
        got = await self._next(f"{self.cls.__name__}.{wanted}")
        if got.method != name or self._bound(got) != self._bound(wanted):
            raise AssertionError(
                f"the probe expected {self.cls.__name__}.{wanted} and got {got} at {got.at:.3f} s\n"
                f"{account(current_runtime())}"
            )
        return got

    async def expect_message(
        self, method: Callable[Concatenate[A, P], Awaitable[object]] | None = None
    ) -> Received:
        """Wait for the next message, whatever it is, or of *method* with any arguments; return it.

        Raises:
            AssertionError: It is of another method; or none came (`WaitedInVain`).
        """
        name = self._known(method) if method is not None else None
        got = await self._next(f"{self.cls.__name__}.{name or '(any message)'}")
        if name not in (None, got.method):
            raise AssertionError(
                f"the probe expected a message of {name} and got {got}\n{account(current_runtime())}"
            )
        return got

    async def expect_none(self, *, for_: float = 0.1) -> None:
        """Check that no message waits to be expected, nor comes within *for_* seconds.

        Raises:
            AssertionError: One came.
        """
        with trio.move_on_after(positive(for_)):
            await self._next("a message", patience=math.inf, take=False)
            raise AssertionError(
                f"the probe expected no message and got {self._unread[0]} at {self._unread[0].at:.3f} s\n"
                f"{account(current_runtime())}"
            )

    def forget(self) -> None:
        """What came so far need not be expected any more."""
        self._unread.clear()

    async def _next(self, what: str, *, patience: float | None = None, take: bool = True) -> Received:
        patience = self._patience if patience is None else patience
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(patience):
            while not self._unread:
                await self._arrivals.park()
            return self._unread.popleft() if take else self._unread[0]
        raise WaitedInVain(f"a message to the probe, {what},", patience, current_runtime())

    def _known(self, method: Callable[..., Awaitable[object]]) -> str:
        name: str = getattr(method, "__name__", repr(method))
        if name not in protocol_of(self.cls):
            known = ", ".join(sorted(protocol_of(self.cls))) or "none"
            raise ValueError(f"{name} is no message of {self.cls.__name__}; there are: {known}")
        return name

    def _bound(self, message: Received) -> Mapping[str, object]:
        bound = inspect.signature(protocol_of(self.cls)[message.method]).bind(
            None, *message.args, **message.kwargs
        )
        bound.apply_defaults()
        return bound.arguments

    # For its actor.

    def _take(self, message: Received) -> None:
        self.received.append(message)
        self._unread.append(message)
        self._arrivals.unpark_all()

    async def _answer(self, message: Received) -> object:
        script = self._scripts.get(message.method)
        if script is not None:
            return await script(*message.args, **message.kwargs)
        if message.is_call and not _answers_none(protocol_of(self.cls)[message.method]):
            raise NothingScripted(
                f"the probe of {self.cls.__name__} was called with {message} and has no answer; "
                f"say probe.replies({self.cls.__name__}.{message.method}, …)"
            )
        return None


class _Handler(functools.partial[Any]):
    """A handler that refuses wrong arguments before it runs, as the real one does.

    A partial, since the protocol of an actor is what `inspect.iscoroutinefunction` says yes to.
    """

    def __call__(self, /, *args: object, **kwargs: object) -> Any:
        self.keywords["signature"].bind(*args, **kwargs)
        return self.func(self.keywords["method"], args, kwargs)


def _actor_class(probe: Probe[A]) -> type[Actor]:
    """A class with the messages of the probe's class, each of which is handed to the probe."""

    async def handle(method: str, args: tuple[Any, ...], kwargs: Mapping[str, object]) -> object:
        actor: Actor = args[0]
        incarnation = actor.context.cell.incarnation
        is_call = incarnation is not None and isinstance(incarnation.current, Call)
        message = Received(method, args[1:], kwargs, trio.current_time(), is_call)
        probe._take(message)
        return await probe._answer(message)

    handlers = {
        name: _Handler(handle, method=name, signature=inspect.signature(real))
        for name, real in protocol_of(probe.cls).items()
    }
    return type(f"ProbeOf{probe.cls.__name__}", (Actor,), handlers)


def _answers_none(method: Callable[..., Awaitable[object]]) -> bool:
    return inspect.signature(method).return_annotation in (None, "None")
