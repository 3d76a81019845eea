"""An actor that crashes again and again brings down its own branch, and nobody else's.

Its supervisor allows two restarts in a second; at the third it gives up. A supervisor is a child like any
other: being TEMPORARY, this one stays down. The shop next to it has not noticed.
"""

import trio

from resprout import TEMPORARY, Actor, ActorError, Name, child, open_runtime, supervisor


class Faulty(Actor):
    async def work(self) -> None:
        raise RuntimeError("no paper")


class Shop(Actor):
    async def sell(self, what: str) -> str:
        return f"sold: {what}"


FAULTY = Name(Faulty, "faulty")
SHOP = Name(Shop, "shop")
app = supervisor(
    "app",
    supervisor("printing", child("faulty", Faulty, name=FAULTY), intensity=2, period=1.0, restart=TEMPORARY),
    child("shop", Shop, name=SHOP),
)


async def main() -> None:
    async with open_runtime(app):
        for _ in range(4):
            try:
                await FAULTY.call(Faulty.work)
            except ActorError as error:
                print(f"{type(error).__name__}: {error}")
            await trio.sleep(0.01)
        print(await SHOP.call(Shop.sell, "a book"))


if __name__ == "__main__":
    trio.run(main)
