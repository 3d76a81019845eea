"""What the load was told, kept apart from everything the application knows: the truth is compared with it."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from resprout import ActorError, CallTimeoutError, OutcomeUnknown, ServiceError


@attrs.define
class Service:
    """How one service answered, and how fast it came back.

    An outage is *open* from the fault until the first good answer after the server's return.
    """

    name: str
    answered: int = 0
    refused: int = 0
    unknown: int = 0
    wrong: int = 0
    outages: int = 0
    recovery_seconds: list[float] = attrs.field(factory=list)
    surprises: list[str] = attrs.field(factory=list)
    returned_at: float | None = None
    _open: bool = False

    @property
    def healthy(self) -> bool:
        """Whether no outage is open."""
        return not self._open

    def goes_down(self) -> None:
        """A fault is about to hit."""
        self.outages += 1
        self._open, self.returned_at = True, None

    def is_back(self) -> None:
        """The server itself is there again; from now on it is for us to recover."""
        self.returned_at = trio.current_time()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Book how the request inside ended."""
        try:
            yield
        except (OutcomeUnknown, CallTimeoutError):
            self.unknown += 1
        except (ServiceError, ActorError):
            self.refused += 1
        except Exception as error:  # noqa: BLE001 - an error without a type of ours is a broken promise.
            self.surprises.append(repr(error))
        else:
            self.good_answer()

    def good_answer(self) -> None:
        """Book an answer; the first after the server's return ends an outage."""
        self.answered += 1
        if self._open and self.returned_at is not None:
            self._open = False
            self.recovery_seconds.append(trio.current_time() - self.returned_at)


@attrs.define
class Books:
    """Everything that was promised to the load."""

    services: dict[str, Service] = attrs.field(factory=dict)
    redis_writes: dict[str, str] = attrs.field(factory=dict)
    increments: int = 0
    increments_unknown: int = 0
    postgres_writes: list[int] = attrs.field(factory=list)
    accepted: dict[str, list[str]] = attrs.field(factory=lambda: defaultdict(list))
    received: dict[str, list[tuple[str, str]]] = attrs.field(factory=lambda: defaultdict(list))
    repeated: int = 0
    broken_promises: list[str] = attrs.field(factory=list)

    def service(self, name: str) -> Service:
        """The account of *name*."""
        return self.services.setdefault(name, Service(name))

    @property
    def delivered(self) -> int:
        """Messages that clients received for the first time."""
        return sum(len(got) for got in self.received.values())
