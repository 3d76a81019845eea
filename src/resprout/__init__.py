"""Supervision trees that grow back: an actor runtime on trio in which no connection ever fails for good."""

from resprout.runtime import *  # noqa: F403 - the facade: each package lists what it promises.
from resprout.runtime import __all__ as _runtime
from resprout.supervisors import *  # noqa: F403 - as above.
from resprout.supervisors import __all__ as _supervisors

__all__ = [*_runtime, *_supervisors]
