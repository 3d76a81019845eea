"""Children that come and go while the tree runs: one actor per visitor, under a dynamic supervisor."""

from functools import partial

import attrs
import trio

from resprout import (
    TEMPORARY,
    Actor,
    DynamicSupervisor,
    Name,
    TooManyChildren,
    child,
    dynamic_supervisor,
    open_runtime,
    supervisor,
)


@attrs.define
class Session(Actor):
    visitor: str

    async def on_stop(self, reason: object) -> None:
        print(f"goodbye, {self.visitor}")

    async def leave(self) -> None:
        self.context.stop()


SESSIONS = Name(DynamicSupervisor, "sessions")
app = supervisor("app", dynamic_supervisor("sessions", name=SESSIONS, max_children=2))


async def arrive(visitor: str) -> str:
    session = child(visitor, partial(Session, visitor), restart=TEMPORARY)
    return await SESSIONS.call(DynamicSupervisor.start_child, session)


async def main() -> None:
    async with open_runtime(app):
        print("welcome at", await arrive("ann"))
        print("welcome at", await arrive("bob"))
        try:
            await arrive("cyd")
        except TooManyChildren as full:
            print("sorry:", full)
        await SESSIONS.call(DynamicSupervisor.terminate_child, "ann")
        print("welcome at", await arrive("cyd"))


if __name__ == "__main__":
    trio.run(main)
