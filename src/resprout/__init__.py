"""Supervision trees that grow back: an actor runtime on trio in which no connection ever fails for good."""

from resprout import runtime, supervisors
from resprout.runtime import *  # noqa: F403 - the facade: each package lists what it promises.
from resprout.supervisors import *  # noqa: F403 - as above.

__all__: list[str] = []
__all__ += runtime.__all__
__all__ += supervisors.__all__
