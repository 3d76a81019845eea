"""What a supervisor says about its children."""

import attrs


@attrs.frozen
class ChildInfo:
    """What a supervisor says about a child: *state* is running, restarting or stopped."""

    id: str
    path: str
    state: str
    kind: str


@attrs.frozen
class ChildCounts:
    """*specs* in all, *active* ones alive; *supervisors* and *workers* counted dead or alive."""

    specs: int
    active: int
    supervisors: int
    workers: int
