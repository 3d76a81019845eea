"""Who is told when an incarnation ends, and who shares its fate. OTP's monitors and links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resprout.runtime.errors import LinkedExit
from resprout.runtime.exits import Crashed, ExitReason, Normal, Shutdown
from resprout.runtime.ref import Ref
from resprout.runtime.signals import Down, PeerExit

if TYPE_CHECKING:
    from collections.abc import Callable

    from resprout.runtime.cell import Cell


class Watch:
    """One monitor: *watcher* learns of the end of *watched*."""

    __slots__ = ("notice", "watched", "watcher")

    def __init__(self, watcher: Cell, watched: Cell) -> None:
        self.watcher, self.watched = watcher, watched
        self.notice: Down | None = None  # What it was told.

    def tell(self, reason: ExitReason) -> None:
        """The watched incarnation has ended."""
        self.notice = Down(ref=Ref(self.watched), reason=reason)
        self.watcher.mailbox.signal(self.notice)

    def end(self) -> None:
        """Tell nothing; a notice that waits unread is taken back, and no other watch's."""
        self.watcher.monitors.watching.pop(self, None)
        self.watched.monitors.watchers.pop(self, None)
        if self.notice is not None:
            self.watcher.mailbox.take_back(self.notice)


class Monitors:
    """Watchers and linked peers of one place in the tree. Dicts, for the order in which they are told."""

    __slots__ = ("_cell", "_links", "trapping", "watchers", "watching")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.watchers: dict[Watch, None] = {}
        self.watching: dict[Watch, None] = {}  # What the present incarnation watches.
        self._links: dict[Cell, None] = {}
        self.trapping = False  # Whether the present incarnation is told of its peers' ends and lives on.

    def watch(self, watcher: Cell) -> Callable[[], None]:
        """Tell *watcher* once; at once if nothing runs here now. Returns what ends the monitor."""
        watch = Watch(watcher, self._cell)
        if self._cell.running:
            self.watchers[watch] = watcher.monitors.watching[watch] = None
        else:
            watch.tell(self._cell.exit_reason)
        return watch.end

    def link(self, peer: Cell) -> None:
        """Share fate with *peer*; linking twice is linking once."""
        if not peer.running:
            raise LinkedExit(peer.path, peer.exit_reason)
        self._links[peer] = peer.monitors._links[self._cell] = None

    def unlink(self, peer: Cell) -> None:
        """Share fate no more; a notice that waits unread is taken back."""
        self._links.pop(peer, None)
        peer.monitors._links.pop(self._cell, None)
        for signal in tuple(self._cell.mailbox.control):
            if isinstance(signal, PeerExit) and signal.ref == Ref(peer):
                self._cell.mailbox.take_back(signal)

    def tell(self, reason: ExitReason) -> None:
        """The incarnation ended with *reason*; with it end the monitors it had on others."""
        self.trapping = False
        for watch in self.watching:
            watch.watched.monitors.watchers.pop(watch, None)
        self.watching.clear()
        watchers, self.watchers = self.watchers, {}
        for watch in watchers:
            watch.watcher.monitors.watching.pop(watch, None)
            watch.tell(reason)
        links, self._links = self._links, {}
        for peer in links:
            peer.monitors._links.pop(self._cell, None)
            if peer.monitors.trapping:
                peer.mailbox.signal(PeerExit(ref=Ref(self._cell), reason=reason))
            else:
                _share_fate(peer, self._cell.path, reason)


def _share_fate(peer: Cell, path: str, reason: ExitReason) -> None:
    match reason:
        case Normal():
            pass
        case Shutdown():  # In order, as whatever ended the other one: it is nobody's crash.
            peer.leave(Shutdown(f"{path}, which it is linked to, was stopped"))
        case _:
            peer.strike(Crashed(LinkedExit(path, reason)))
