"""A door with a code lock: states are types, events are methods, and what comes too early is postponed."""

from typing import TypeAlias

import attrs
import trio

from resprout import Name, ReplyError, StateMachine, child, open_runtime, supervisor


@attrs.frozen
class Locked:
    wrong: int = 0


@attrs.frozen
class Unlocked:
    pass


State: TypeAlias = Locked | Unlocked


class WrongCode(ReplyError):
    pass


@attrs.define
class Door(StateMachine[State]):
    def initial(self) -> State:
        return Locked()

    async def on_enter(self, old: State, new: State) -> None:
        print("the door is", new)
        if isinstance(new, Unlocked):
            self.state_timeout(0.2, Door.lock)  # Ends by itself if the door is locked before.

    async def press(self, code: str) -> None:
        match self.state:
            case Unlocked():
                pass
            case Locked() if code == "1234":
                self.become(Unlocked())
            case Locked(wrong=wrong):
                self.become(Locked(wrong + 1))
                raise WrongCode(f"{code} is wrong")

    async def walk_through(self, who: str) -> str:
        if isinstance(self.state, Locked):
            self.postpone()  # Tried again after the next change; the caller waits.
        return f"{who} is inside"

    async def lock(self) -> None:
        self.become(Locked())


DOOR = Name(Door, "door")


async def main() -> None:
    async with (
        open_runtime(supervisor("app", child("door", Door, name=DOOR))),
        trio.open_nursery() as nursery,
    ):

        async def visit() -> None:
            print(await DOOR.call(Door.walk_through, "ann"))

        nursery.start_soon(visit)
        try:
            await DOOR.call(Door.press, "0000")
        except WrongCode as error:
            print("error:", error)
        await DOOR.call(Door.press, "1234")
        await trio.sleep(0.3)


if __name__ == "__main__":
    trio.run(main)
