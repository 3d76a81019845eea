"""A pool of equal actors: each key belongs to one of them, so that it has one owner and its messages an order."""

import attrs
import trio

from resprout import BY_KEY, Actor, Pool, open_runtime, pool, supervisor


@attrs.define
class Counter(Actor):
    seen: dict[str, int] = attrs.field(factory=dict)

    async def visit(self, user: str) -> int:
        self.seen[user] = self.seen.get(user, 0) + 1
        return self.seen[user]


COUNTERS = Pool(Counter, "counters")
app = supervisor("app", pool("counters", Counter, size=4, route=BY_KEY, name=COUNTERS))


async def main() -> None:
    async with open_runtime(app):
        await COUNTERS.by_key("ann").call(Counter.visit, "ann")
        ann = await COUNTERS.by_key("ann").call(Counter.visit, "ann")
        bob = await COUNTERS.by_key("bob").call(Counter.visit, "bob")
        print(f"ann: {ann} in all, bob: {bob}")


if __name__ == "__main__":
    trio.run(main)
