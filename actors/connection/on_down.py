"""What a call does while there is no connection: the choice every client of a connection offers."""

import enum
from typing import Final


class OnDown(enum.Enum):
    """What a call does while there is no connection."""

    FAIL_FAST = "fail_fast"
    """Raise `Unavailable` at once."""
    WAIT = "wait"
    """Wait for the connection, at most until the call's deadline."""


FAIL_FAST: Final = OnDown.FAIL_FAST
WAIT: Final = OnDown.WAIT
