"""A crash, seen from outside: the caller is told, the place in the tree and its waiting mail stay.

The state does not: a fresh actor starts from zero. `keep_state.py` shows where state goes that must stay.
"""

import attrs
import trio

from resprout import Actor, ActorCrashed, Name, child, open_runtime, supervisor


@attrs.define
class Counter(Actor):
    total: int = 0

    async def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    async def divide(self, by: int) -> None:
        self.total //= by


COUNTER = Name(Counter, "counter")
app = supervisor("app", child("counter", Counter, name=COUNTER))


async def main() -> None:
    async with open_runtime(app):
        await COUNTER.call(Counter.add, 2)
        print("2 and 3 make", await COUNTER.call(Counter.add, 3))
        try:
            await COUNTER.call(Counter.divide, 0)
        except ActorCrashed as crash:
            print("the caller hears:", crash.cause)
        COUNTER.cast(Counter.add, 40)
        print("the next one counts from zero:", await COUNTER.call(Counter.add, 2))


if __name__ == "__main__":
    trio.run(main)
