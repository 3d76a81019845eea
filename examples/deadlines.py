"""Every call ends: after 5 seconds by default, or when you say. A call that still waits is withdrawn."""

import attrs
import trio

from resprout import Actor, CallTimeoutError, Name, child, open_runtime, supervisor


@attrs.define
class Printer(Actor):
    pages: int = 0

    async def print_page(self, seconds: float) -> int:
        await trio.sleep(seconds)
        self.pages += 1
        return self.pages


PRINTER = Name(Printer, "printer")
app = supervisor("app", child("printer", Printer, name=PRINTER))


async def main() -> None:
    async with open_runtime(app):
        PRINTER.cast(Printer.print_page, 0.3)  # Keeps it busy.
        try:
            await PRINTER.within(0.1).call(Printer.print_page, 0)
        except CallTimeoutError as error:
            print("gave up:", error)
        with trio.move_on_after(0.1):  # A trio scope shortens the deadline as well.
            await PRINTER.call(Printer.print_page, 0)
        print("only the third call ran, as page", await PRINTER.call(Printer.print_page, 0))


if __name__ == "__main__":
    trio.run(main)
