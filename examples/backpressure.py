"""A mailbox has a limit, and what happens at the limit is your choice."""

import attrs
import trio

from resprout import Actor, MailboxFull, Name, Overflow, child, open_runtime, supervisor


@attrs.define
class Camera(Actor):
    seen: list[int] = attrs.field(factory=list)

    async def look(self, frame: int) -> None:
        await trio.sleep(0.01)
        self.seen.append(frame)

    async def all_seen(self) -> list[int]:
        return self.seen


STRICT = Name(Camera, "strict")
LATEST = Name(Camera, "latest")
app = supervisor(
    "app",
    child("strict", Camera, name=STRICT, mailbox=3),
    child("latest", Camera, name=LATEST, mailbox=3, overflow=Overflow.DROP_OLDEST),
)


async def main() -> None:
    async with open_runtime(app) as runtime:
        for frame in range(10):
            LATEST.cast(Camera.look, frame)  # Old frames make room for new ones.
        for frame in range(10):
            try:
                STRICT.cast(Camera.look, frame)  # Never waits, so it must be able to refuse.
            except MailboxFull:
                await STRICT.send(Camera.look, frame)  # Waits for room: the producer slows down.
        print("strict saw", await STRICT.call(Camera.all_seen))
        print("latest saw", await LATEST.call(Camera.all_seen))
        print("dropped, and counted:", runtime.dead_letter_count)


if __name__ == "__main__":
    trio.run(main)
