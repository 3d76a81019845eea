"""State that must outlive a crash belongs in another actor: one that is too simple to crash."""

import attrs
import trio

from resprout import REST_FOR_ONE, Actor, ActorCrashed, Name, child, open_runtime, supervisor


@attrs.define
class Shelf(Actor):
    """Keeps values and does nothing else."""

    values: dict[str, int] = attrs.field(factory=dict)

    async def put(self, key: str, value: int) -> None:
        self.values[key] = value

    async def get(self, key: str) -> int:
        return self.values.get(key, 0)


@attrs.define
class Counter(Actor):
    """Takes its total from the shelf when it starts, and puts each new one back."""

    total: int = 0

    async def on_start(self) -> None:
        self.total = await SHELF.call(Shelf.get, "total")

    async def add(self, amount: int) -> int:
        assert amount > 0, "only more than nothing can be added"
        self.total += amount
        await SHELF.call(Shelf.put, "total", self.total)
        return self.total


SHELF = Name(Shelf, "shelf")
COUNTER = Name(Counter, "counter")
app = supervisor(
    "app",
    child("shelf", Shelf, name=SHELF),
    child("counter", Counter, name=COUNTER),
    strategy=REST_FOR_ONE,  # Should the shelf crash after all, the counter starts again from its contents.
)


async def main() -> None:
    async with open_runtime(app):
        await COUNTER.call(Counter.add, 4)
        try:
            await COUNTER.call(Counter.add, 0)
        except ActorCrashed as crash:
            print("crashed:", crash.cause)
        print("after the restart, 4 and 3 make", await COUNTER.call(Counter.add, 3))


if __name__ == "__main__":
    trio.run(main)
