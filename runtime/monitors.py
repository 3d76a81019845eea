"""Who is told when an incarnation ends, and who shares its fate. OTP's monitors and links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resprout.runtime.errors import LinkedExit
from resprout.runtime.exits import Crashed, Normal
from resprout.runtime.ref import Ref
from resprout.runtime.signals import Down

if TYPE_CHECKING:
    from collections.abc import Callable

    from resprout.runtime.cell import Cell
    from resprout.runtime.exits import ExitReason


class Monitors:
    """Watchers and linked peers of one place in the tree."""

    __slots__ = ("_cell", "_links", "_next", "_watchers", "_watching")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._watchers: dict[int, Cell] = {}
        self._watching: set[tuple[Monitors, int]] = set()  # Where this incarnation watches.
        self._links: set[Cell] = set()
        self._next = 0

    def watch(self, watcher: Cell) -> Callable[[], None]:
        """Tell *watcher* once; at once if nothing runs here now. Returns what ends the monitor."""
        if not self._cell.running:
            watcher.mailbox.signal(Down(ref=Ref(self._cell), reason=self._cell.exit_reason))
            return lambda: None
        self._next += 1
        key = self._next
        self._watchers[key] = watcher
        watcher.monitors._watching.add((self, key))
        return lambda: self._unwatch(key, watcher)

    def _unwatch(self, key: int, watcher: Cell) -> None:
        """End the monitor; a `Down` that waits unread is taken back."""
        watcher.monitors._watching.discard((self, key))
        if self._watchers.pop(key, None) is None:
            lane = watcher.mailbox.control
            mine = [s for s in lane if isinstance(s, Down) and s.ref == Ref(self._cell)]
            if mine:
                lane.remove(mine[0])

    def link(self, peer: Cell) -> None:
        """Share fate with *peer*; linking twice is linking once."""
        if not peer.running:
            raise LinkedExit(peer.path, peer.exit_reason)
        self._links.add(peer)
        peer.monitors._links.add(self._cell)

    def tell(self, reason: ExitReason) -> None:
        """The incarnation ended with *reason*; with it end the monitors it had on others."""
        for watched, key in self._watching:
            watched._watchers.pop(key, None)
        self._watching.clear()
        watchers, self._watchers = self._watchers, {}
        for key, watcher in watchers.items():
            watcher.monitors._watching.discard((self, key))
            watcher.mailbox.signal(Down(ref=Ref(self._cell), reason=reason))
        links, self._links = self._links, set()
        for peer in links:
            peer.monitors._links.discard(self._cell)
            if not isinstance(reason, Normal):
                peer.strike(Crashed(LinkedExit(self._cell.path, reason)))
