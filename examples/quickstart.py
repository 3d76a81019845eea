"""One actor that counts, and a supervisor that starts it again whenever it crashes."""

import attrs
import trio

from resprout import Actor, Name, child, open_runtime, supervisor


@attrs.define
class Counter(Actor):
    total: int = 0

    async def add(self, amount: int) -> int:
        self.total += amount
        return self.total


COUNTER = Name(Counter, "counter")
app = supervisor("app", child("counter", Counter, name=COUNTER))


async def main() -> None:
    async with open_runtime(app):
        await COUNTER.call(Counter.add, 1)
        print(await COUNTER.call(Counter.add, 2))


if __name__ == "__main__":
    trio.run(main)
