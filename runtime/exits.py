"""Why an actor ended: a value to match on, never a string.

The reason says who did it. It is read from who asked the actor to end, not from the type of an exception:
a `trio.Cancelled` alone says nothing.
"""

from typing import TypeAlias

import attrs

from resprout.runtime.telling import sentence


@attrs.frozen
class Normal:
    """The actor finished its work and ended by itself."""

    def __str__(self) -> str:
        return "normal"


@attrs.frozen
class Ignored(Normal):
    """It declined to start, by raising `Ignore`: there is nothing to do here. OTP's ``ignore``."""

    why: str = ""

    def __str__(self) -> str:
        return f"declined to start: {self.why}" if self.why else "declined to start"


@attrs.frozen
class Shutdown:
    """Somebody with the right to do so asked the actor to stop, and it did in time."""

    detail: str = ""

    def __str__(self) -> str:
        return f"shutdown: {self.detail}" if self.detail else "shutdown"


@attrs.frozen
class Killed:
    """The actor was cancelled: it did not stop within its time, or was never given any."""

    detail: str = ""

    def __str__(self) -> str:
        return f"killed: {self.detail}" if self.detail else "killed"


@attrs.frozen(eq=False)
class Crashed:
    """The actor raised *error*; an exception group keeps all its leaves."""

    error: BaseException

    def __str__(self) -> str:
        return f"crashed: {sentence(self.error)}"


ExitReason: TypeAlias = Normal | Shutdown | Killed | Crashed
