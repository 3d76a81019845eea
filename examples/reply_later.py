"""Answer a call later: one caller's long wait keeps nobody else waiting."""

from collections import deque

import attrs
import trio

from resprout import Actor, Name, Reply, child, open_runtime, supervisor


@attrs.define
class Kitchen(Actor):
    """Whoever is hungry waits here until something is ready; meanwhile others are served."""

    hungry: deque[Reply[str]] = attrs.field(factory=deque)

    async def eat(self) -> str:
        reply: Reply[str] = self.context.reply_later()
        self.hungry.append(reply)
        return reply.promise

    async def ready(self, dish: str) -> None:
        while self.hungry and not self.hungry.popleft().send(dish):
            pass  # That one has gone: to the next.


KITCHEN = Name(Kitchen, "kitchen")
app = supervisor("app", child("kitchen", Kitchen, name=KITCHEN))


async def guest(name: str) -> None:
    print(name, "eats", await KITCHEN.call(Kitchen.eat))


async def main() -> None:
    async with open_runtime(app), trio.open_nursery() as nursery:
        nursery.start_soon(guest, "ann")
        await trio.sleep(0.01)
        await KITCHEN.call(Kitchen.ready, "soup")


if __name__ == "__main__":
    trio.run(main)
