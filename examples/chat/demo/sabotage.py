"""The chat's parts with a handle to break them by. Nothing of this is in the chat itself."""

import attrs

from examples.chat.actors import Rooms, Trending
from examples.chat.sessions import sessions
from resprout import Unavailable
from resprout.actors.websocket import WebSocketServer


class Sabotage(Exception):
    """A bug that somebody put in."""


@attrs.define
class BreakableVerifier:
    """The chat's verifier, behind a switch."""

    broken: bool = False

    async def __call__(self, token: str) -> str:
        if self.broken:
            raise Unavailable("session store", "switched off by the demo")
        return await sessions(token)


@attrs.define
class BreakableRooms(Rooms):
    """Crashes when told to."""

    async def crash(self) -> None:
        """Have a bug."""
        raise Sabotage("rooms")


class BreakableWebSocketServer(WebSocketServer):
    """Crashes when told to."""

    async def crash(self) -> None:
        """Have a bug."""
        raise Sabotage("websocket server")


@attrs.define
class BreakableTrending(Trending):
    """Crashes at each start and each message, for as long as the switch is on."""

    switch: "Switch" = attrs.field(factory=lambda: Switch())

    async def on_start(self) -> None:
        """Have a bug at the worst place."""
        if self.switch.on:
            raise Sabotage("trending")

    async def crash(self) -> None:
        """Have a bug."""
        raise Sabotage("trending")


@attrs.define
class Switch:
    """On or off, for whoever shares it."""

    on: bool = False
