"""A tree that ends by itself when its work is done: `run` returns, and the process exits with 0."""

import attrs

from resprout import TRANSIENT, Actor, AutoShutdown, child, run, supervisor


@attrs.define
class Countdown(Actor):
    left: int = 3

    async def on_start(self) -> None:
        self.context.every(0.05, Countdown.tick)

    async def tick(self) -> None:
        print(self.left)
        self.left -= 1
        if self.left == 0:
            self.context.stop()


app = supervisor(
    "app",
    child("countdown", Countdown, restart=TRANSIENT, significant=True),
    auto_shutdown=AutoShutdown.ALL_SIGNIFICANT,
)

if __name__ == "__main__":
    run(app)
