"""What a place in the tree is doing."""

import enum


class Life(enum.Enum):
    """What a place in the tree is doing."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"  # Between two incarnations: mail is accepted and waits.
    STOPPED = "stopped"  # Mail is refused, until somebody starts it again.
