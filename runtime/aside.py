"""Messages that an actor took from its mailbox and put aside, to handle them later."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from resprout.runtime.message import Call

if TYPE_CHECKING:
    from resprout.runtime.message import Message


class Aside:
    """What is put aside, oldest first. None of it is a withdrawn call: those leave at once."""

    __slots__ = ("recalled", "stashed")

    def __init__(self) -> None:
        self.stashed: deque[Message] = deque()
        self.recalled: deque[Message] = deque()  # What a state machine tries again, next and before all mail.

    def __len__(self) -> int:
        return len(self.stashed) + len(self.recalled)

    def __contains__(self, message: Message) -> bool:
        return message in self.stashed or message in self.recalled

    def all(self) -> list[Message]:
        """Everything; what was stashed again after it had been recalled is older than what is still to come."""
        return [*self.stashed, *self.recalled]

    def recall(self) -> None:
        """Let all that is stashed come next."""
        self.recalled.extendleft(reversed(self.stashed))
        self.stashed.clear()

    def put(self, message: Message) -> None:
        """Put *message* aside. A call counts as waiting again, unless its caller has gone."""
        if type(message) is Call:
            if message.task is None:
                return
            message.started = False
        self.stashed.append(message)

    def drop(self, message: Message) -> bool:
        """Forget *message*; whether it was here."""
        for place in (self.stashed, self.recalled):
            if message in place:
                place.remove(message)
                return True
        return False
