"""Look into an actor that runs, hold it, repair its state, and let it go on: OTP's `sys`."""

import attrs
import trio

from resprout import Actor, Name, TraceEvent, child, control, open_runtime, supervisor


@attrs.define
class Till(Actor):
    total: int = 0

    async def pay(self, amount: int) -> int:
        self.total += amount
        return self.total


TILL = Name(Till, "till")
app = supervisor("app", child("till", Till, name=TILL))


def show(event: TraceEvent) -> None:
    print(event.what.value, event.method, event.args)


async def main() -> None:
    async with open_runtime(app):
        till = control(TILL)
        await TILL.call(Till.pay, -5)  # Something went wrong yesterday.
        await till.suspend()
        TILL.cast(Till.pay, 10)  # Waits.
        print(await till.get_state())
        await till.replace_state(lambda now: {"total": abs(now.total)})
        await till.trace(show, limit=2)
        await till.resume()
        print(await TILL.call(Till.pay, 0))


if __name__ == "__main__":
    trio.run(main)
