"""What is known about an actor at its unclean end, as text: safe to keep, to send and to write.

The values of an actor's fields may be secrets: a report has their names and types, and only those values that
the actor itself names in `describe_state`. What has a name that sounds like a secret, itself or inside of what is
shown, is masked even then.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs

from resprout.runtime.classify import leaves
from resprout.runtime.exits import Crashed, ExitReason
from resprout.runtime.masking import MASK, masked, sounds_secret
from resprout.runtime.state import fields_of
from resprout.runtime.telling import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resprout.runtime.actor import Actor

LONGEST_VALUE = 200  # Characters.
MOST_CONTEXTS = 10


@attrs.frozen(kw_only=True)
class CrashReport:
    """An actor's unclean end.

    Attributes:
        actor: Its path.
        ancestors: The paths above it, the nearest first.
        generation: Which incarnation it was, from 1.
        uptime: Seconds for which it ran after `on_start`.
        reason: Why it ended, in a sentence.
        leaves: Each exception that is not a group, in a sentence.
        context: What was being handled when they were raised; never the crash itself.
        message: Name of the message in work, if any.
        fields: Names of the actor's fields, each with its type's name.
        described: What the actor says of itself in `describe_state`, as text.
        restarts: Restarts of this place before that nobody ordered.
        recent_restarts: When the last of them were, in seconds on the trio clock, oldest first.
    """

    actor: str
    ancestors: tuple[str, ...]
    generation: int
    uptime: float
    reason: str
    leaves: tuple[str, ...]
    context: tuple[str, ...]
    message: str | None
    fields: Mapping[str, str]
    described: Mapping[str, str]
    restarts: int
    recent_restarts: tuple[float, ...]

    def __str__(self) -> str:
        lines = [f"{self.actor} generation {self.generation}, up {self.uptime:.3f} s: {self.reason}"]
        lines += [f"  raised: {each}" for each in self.leaves]
        lines += [f"  while handling: {each}" for each in self.context]
        lines.append(f"  message: {self.message or 'none'}")
        lines += [
            f"  {name}: {kind}{f' = {self.described[name]}' if name in self.described else ''}"
            for name, kind in self.fields.items()
        ]
        lines += [f"  {name} = {text}" for name, text in self.described.items() if name not in self.fields]
        lines.append(f"  ancestors: {', '.join(self.ancestors) or 'none'}")
        at = ", ".join(f"{moment:.3f}" for moment in self.recent_restarts)
        lines.append(f"  restarts: {self.restarts}{f', the last at {at}' if at else ''}")
        return "\n".join(lines)


def report_of(
    path: str,
    reason: ExitReason,
    actor: Actor | None,
    *,
    generation: int,
    uptime: float,
    message: str | None,
    restarts: int,
    recent_restarts: tuple[float, ...],
) -> CrashReport:
    """The report of *actor*'s end. Code of the application that raises costs its line, and nothing else."""
    found = list(leaves(reason.error)) if isinstance(reason, Crashed) else []
    parts = path.split("/")
    return CrashReport(
        actor=path,
        ancestors=tuple("/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)),
        generation=generation,
        uptime=uptime,
        reason=_told(lambda: str(reason)),
        leaves=tuple(_sentence(error) for error in found),
        context=_contexts(([reason.error] if isinstance(reason, Crashed) else []) + found),
        message=message,
        fields=_fields(actor),
        described=_described(actor),
        restarts=restarts,
        recent_restarts=recent_restarts,
    )


def _contexts(errors: list[BaseException]) -> tuple[str, ...]:
    seen, told = {id(error) for error in errors}, list[str]()
    for error in errors:
        context = error.__context__
        while context is not None and id(context) not in seen and len(told) < MOST_CONTEXTS:
            seen.add(id(context))
            told.append(_sentence(context))
            context = context.__context__
    return tuple(told)


def _fields(actor: Actor | None) -> dict[str, str]:
    try:
        return {name: type(value).__name__ for name, value in fields_of(actor).items()} if actor else {}
    except Exception as error:  # noqa: BLE001 - a hostile __getattr__ may raise anything.
        return {"?": f"cannot be read: {type(error).__name__}"}


def _described(actor: Actor | None) -> dict[str, str]:
    try:
        values = dict(actor.describe_state()) if actor else {}
        return {
            str(name): MASK if sounds_secret(str(name)) else _told(partial(_shown, value))
            for name, value in values.items()
        }
    except Exception as error:  # noqa: BLE001 - as above.
        return {"?": f"describe_state() raised {type(error).__name__}"}


def _shown(value: object) -> str:
    return masked(repr(value))


def _sentence(error: BaseException) -> str:
    try:
        return sentence(error)
    except Exception:  # noqa: BLE001 - a hostile __str__ may raise anything.
        return f"{type(error).__name__}, which cannot be printed"


def _told(tell: Callable[[], str]) -> str:
    try:
        return tell()[:LONGEST_VALUE]
    except Exception as error:  # noqa: BLE001 - as above.
        return f"cannot be printed: {type(error).__name__}"
