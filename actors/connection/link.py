"""What the keeper wants of a link."""

from typing import Protocol, TypeVar, runtime_checkable


class Link(Protocol):
    """One live connection, or session, to a service."""

    async def probe(self) -> None:
        """Make a real round trip on the real path, with a random nonce where possible; raise if it fails."""

    async def wait_lost(self) -> Exception:
        """Return why, once the link is dead. May be awaited again after a cancel."""
        ...

    async def aclose(self) -> None:
        """Close; idempotent, bounded, safe under cancellation."""


@runtime_checkable
class Drainable(Protocol):
    """A link that knows when it is idle. A drain of another waits for `Gate.drained`, or out its time."""

    async def wait_idle(self) -> None:
        """Return when no call is in flight."""


L = TypeVar("L", bound=Link)
