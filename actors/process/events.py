"""What happens to the operating system processes that actors own."""

import attrs

from resprout.runtime.events import Event


@attrs.frozen(kw_only=True)
class ProcessEvent(Event):
    """Something that happened to the process of *service*, process id *pid*."""

    service: str
    pid: int


@attrs.frozen(kw_only=True)
class ProcessReady(ProcessEvent):
    """It was started and answers at *url*, *after* seconds."""

    level = "info"

    url: str
    after: float


@attrs.frozen(kw_only=True)
class LeftoverKilled(ProcessEvent):
    """A process of an earlier life of this program still ran in the data directory and was killed."""

    level = "warning"


@attrs.frozen(kw_only=True)
class ProcessExited(ProcessEvent):
    """It ended although nobody had asked it to; *code* is negative for a signal. *output*: its last lines."""

    level = "error"

    code: int
    output: str


@attrs.frozen(kw_only=True)
class ProcessStopped(ProcessEvent):
    """It was asked to stop and has ended; *code* as above, None if it had to be given up."""

    level = "info"

    code: int | None
