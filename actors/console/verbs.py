"""What the console can do: one function a verb, over a running tree."""

from typing import Final, assert_never

import attrs
import trio

from resprout.actors.console.wire import Code, Request, RequestError, Verb
from resprout.runtime.errors import ActorError, ReplyError
from resprout.runtime.snapshot import Snapshot
from resprout.runtime.system import System
from resprout.supervisors.admin import restart_at

# A restart may have to wait for all the shutdown times below the place.
RESTART_TIMEOUT: Final = 60.0


@attrs.frozen
class Letter:
    """A message to this place that was never handled, *ago* seconds before now."""

    message: str
    why: str
    ago: float


@attrs.frozen
class Info:
    """All that is known of one place in the tree."""

    place: Snapshot
    dead_letters: tuple[Letter, ...]


@attrs.frozen
class Restarted:
    """A place was restarted on request: its *generation* before and after."""

    path: str
    before: int
    after: int


async def carry_out(system: System, request: Request) -> object:
    """Do what *request* asks.

    Raises:
        RequestError: It cannot be done.
    """
    match request.verb:
        case Verb.TREE:
            if request.args:
                raise RequestError(Code.BAD_ARGUMENTS, "tree wants no arguments")
            return system.snapshot()
        case Verb.INFO:
            return info(system, request.path())
        case Verb.RESTART:
            return await restart(system, request.path())
        case _:
            assert_never(request.verb)


def info(system: System, path: str) -> Info:
    """What is known of the place at *path*."""
    now = trio.current_time()
    letters = (letter for letter in system.dead_letters if letter.actor == path)
    return Info(find(system, path), tuple(Letter(each.message, each.why, now - each.at) for each in letters))


async def restart(system: System, path: str) -> Restarted:
    """Stop the child at *path* in order and start it again; its supervisor does not count it as a failure.

    It is done to its end even if this console is below *path* and does not live to tell.

    Raises:
        RequestError: There is no such place, no supervisor runs it, it is the root, or did not start again.
    """
    before = find(system, path)
    try:
        await restart_at(system, path)
    except (ActorError, ReplyError) as error:
        raise RequestError(Code.REFUSED, f"{path} was not restarted: {error}") from error
    return Restarted(path, before.generation, find(system, path).generation)


def find(system: System, path: str) -> Snapshot:
    """The place at *path* as it stands now; raises `RequestError` if there is none."""
    for place in system.snapshot().walk():
        if place.path == path:
            return place
    raise RequestError(Code.NOT_FOUND, f"there is no {path!r} in this tree; ask for the tree to see what is")
