"""Answers of a supervisor to requests about its children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resprout.runtime import ReplyError

if TYPE_CHECKING:
    from resprout.runtime import ExitReason


class ChildError(ReplyError):
    """A request about the child *id* at *path* cannot be met; nothing else was touched."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.id = path.rpartition("/")[2]


class ChildNotFound(ChildError):
    """There is no child of this id."""


class AlreadyStarted(ChildError):
    """A child of this id runs, at *path*."""


class AlreadyPresent(ChildError):
    """A child of this id is kept but does not run: *state* is stopped or restarting."""

    def __init__(self, path: str, message: str, state: str) -> None:
        super().__init__(path, message)
        self.state = state


class ChildRunning(ChildError):
    """The child runs; terminate it first."""


class ChildRestarting(ChildError):
    """The child waits for its next start, or is at it: `retry_child` starts it now, `terminate_child` gives up."""


class ChildStopped(ChildError):
    """The child is stopped, so there is no restart to wait for; `restart_child` starts it."""


class ChildStartFailed(ChildError):
    """The child did not start. *reason* says how it ended; None if it was not even tried."""

    def __init__(self, path: str, message: str, reason: ExitReason | None = None) -> None:
        super().__init__(path, message)
        self.reason = reason


class ChildIgnored(ChildError):
    """The child declined to start: it raised `Ignore`, and *why* is what it said. Not a failure.

    A static supervisor keeps it, stopped, unless it is temporary; a dynamic one forgets it.
    """

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, f"it declined to start: {why}" if why else "it declined to start")
        self.why = why


class TooManyChildren(ChildError):
    """The dynamic supervisor has as many children as it may: *limit*."""

    def __init__(self, path: str, message: str, limit: int) -> None:
        super().__init__(path, message)
        self.limit = limit
