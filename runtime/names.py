"""Typed, late-bound names: constants that application code holds before anything runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from resprout.runtime.errors import NameTakenError, NotFoundError
from resprout.runtime.ref import DEFAULT_TIMEOUT, A, Address, _positive

if TYPE_CHECKING:
    from resprout.runtime.cell import Cell


class Name(Address[A]):
    """A name for an actor of type *cls*, found in the running tree when it is used.

    >>> from resprout.runtime import Actor
    >>> CLOCK = Name(Actor, "clock")
    >>> CLOCK
    Name(Actor, 'clock')
    """

    __slots__ = ("cls", "key")

    def __init__(self, cls: type[A], key: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.cls, self.key, self._timeout = cls, key, _positive(timeout)

    def _find(self) -> Cell:
        return current_registry().find(self.key)

    def within(self, seconds: float) -> Name[A]:
        """The same name with another deadline for calls; `math.inf` for none."""
        return Name(self.cls, self.key, timeout=seconds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and (other.cls, other.key) == (self.cls, self.key)

    def __hash__(self) -> int:
        return hash((self.cls, self.key))

    def __repr__(self) -> str:
        return f"Name({self.cls.__name__}, {self.key!r})"


class Registry:
    """Which place in the tree holds which name. A name stays with its place until that is gone for good."""

    def __init__(self) -> None:
        self._places: dict[str, Cell] = {}

    def find(self, key: str) -> Cell:
        """The place that holds *key*, or raise `NotFoundError`."""
        try:
            return self._places[key]
        except KeyError:
            raise NotFoundError(key, f"no actor is registered as {key!r}; is it in the tree?") from None

    def register(self, key: str, cell: Cell) -> None:
        """Give *key* to *cell*, or raise `NameTakenError`."""
        holder = self._places.setdefault(key, cell)
        if holder is not cell:
            raise NameTakenError(cell.path, key, holder.path)

    def release(self, key: str, cell: Cell) -> None:
        """Free *key* if *cell* holds it."""
        if self._places.get(key) is cell:
            del self._places[key]


_current: ContextVar[Registry] = ContextVar("resprout-registry")


def current_registry() -> Registry:
    """The registry of the runtime this code runs in, or raise `NotFoundError`."""
    registry = _current.get(None)
    if registry is None:
        raise NotFoundError("", "no runtime is running here; use run() or open_runtime() around this code")
    return registry
