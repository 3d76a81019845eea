"""Answers of a supervisor to requests about its children."""

from resprout.runtime import ReplyError


class ChildError(ReplyError):
    """A request about the child at *path* cannot be met; nothing else was touched."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class ChildNotFound(ChildError):
    """There is no child of this id."""


class AlreadyPresent(ChildError):
    """A child of this id exists; it may be running, restarting or stopped."""


class ChildRunning(ChildError):
    """The child runs or restarts; terminate it first."""


class ChildStartFailed(ChildError):
    """The child did not start."""


class TooManyChildren(ChildError):
    """The dynamic supervisor has as many children as it may."""
