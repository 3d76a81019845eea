"""Messages that an actor took from its mailbox and put aside, to handle them later."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from resprout.runtime.message import Call

if TYPE_CHECKING:
    from resprout.runtime.message import Message


class Aside:
    """What is put aside, oldest first. None of it is a withdrawn call: those leave at once."""

    __slots__ = ("stashed",)

    def __init__(self) -> None:
        self.stashed: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self.stashed)

    def __contains__(self, message: Message) -> bool:
        return message in self.stashed

    def put(self, message: Message) -> None:
        """Put *message* aside. A call counts as waiting again, unless its caller has gone."""
        if type(message) is Call:
            if message.task is None:
                return
            message.started = False
        self.stashed.append(message)

    def drop(self, message: Message) -> bool:
        """Forget *message*; whether it was here."""
        if message not in self.stashed:
            return False
        self.stashed.remove(message)
        return True
