"""An actor's fields, as whoever looks in from outside sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resprout.runtime.errors import StateError
from resprout.runtime.statemachine import StateMachine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resprout.runtime.actor import Actor

_ENGINES = frozenset(("context", "_machine", "__weakref__", "__dict__"))


def fields_of(actor: Actor) -> dict[str, object]:
    """The fields of *actor* by name, in the order of their definition; of a state machine its state as well."""
    state = {"state": actor.state} if isinstance(actor, StateMachine) else {}
    return state | {name: getattr(actor, name) for name in _names(actor) if hasattr(actor, name)}


def replace_fields(actor: Actor, values: Mapping[str, object]) -> None:
    """Set fields of *actor*: all of *values*, or none.

    Raises:
        StateError: There is no such field, or it does not accept its value.
    """
    known = _names(actor)
    for name in values:
        if name not in known:
            raise StateError(
                f"{type(actor).__name__} has no field {name!r}; it has {', '.join(known) or 'none'}"
            )
    before = {name: getattr(actor, name) for name in values if hasattr(actor, name)}
    try:
        for name, value in values.items():
            setattr(actor, name, value)
    except Exception as error:
        for name, value in before.items():
            object.__setattr__(actor, name, value)
        raise StateError(f"{type(actor).__name__} does not accept {dict(values)!r:.200}: {error}") from error


def _names(actor: Actor) -> list[str]:
    names: list[str] = []
    for cls in reversed(type(actor).__mro__):
        slots = cls.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    names += list(getattr(actor, "__dict__", ()))
    return [name for name in dict.fromkeys(names) if name not in _ENGINES]
