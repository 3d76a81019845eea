"""A remote that does as it is told, and the links to it."""

from collections.abc import Callable

import attrs
import trio


class FakeLink:
    """A link that does as it is told."""

    def __init__(self) -> None:
        self.probes: list[float] = []
        self.answers = True
        self.hangs = False
        self.takes = 0.01
        self.closed = 0
        self._lost = trio.Event()
        self._why: Exception = ConnectionResetError("peer reset")

    async def probe(self) -> None:
        self.probes.append(trio.current_time())
        if self.hangs:
            await trio.sleep_forever()
        await trio.sleep(self.takes)
        if not self.answers:
            raise ConnectionError("wrong echo")

    async def wait_lost(self) -> Exception:
        await self._lost.wait()
        return self._why

    async def aclose(self) -> None:
        self.closed += 1
        await trio.lowlevel.checkpoint()

    def die(self, why: Exception | None = None) -> None:
        self._why = why or self._why
        self._lost.set()


@attrs.define
class FakeServer:
    """Accepts, refuses or hangs; remembers what was tried."""

    up: bool = True
    hangs: bool = False
    bad_probes: bool = False
    error: Exception = attrs.field(factory=lambda: ConnectionRefusedError("refused"))
    attempts: list[float] = attrs.field(factory=list)
    links: list[FakeLink] = attrs.field(factory=list)
    make_link: Callable[[], FakeLink] = FakeLink
    connecting: int = 0
    most_connecting: int = 0
    on_connect: Callable[[trio.Nursery, FakeLink], None] | None = None

    async def connect(self, nursery: trio.Nursery) -> FakeLink:
        self.attempts.append(trio.current_time())
        self.connecting += 1
        self.most_connecting = max(self.most_connecting, self.connecting)
        try:
            if self.hangs:
                await trio.sleep_forever()
            await trio.sleep(0.02)
        finally:
            self.connecting -= 1
        if not self.up:
            raise self.error.with_traceback(None)  # Else it would grow with each attempt.
        link = self.make_link()
        link.answers = not self.bad_probes
        self.links.append(link)
        if self.on_connect is not None:
            self.on_connect(nursery, link)
        return link

    @property
    def link(self) -> FakeLink:
        return self.links[-1]
