"""A monitor tells one actor that another has ended, and why; both live their own lives."""

from functools import partial

import attrs
import trio

from resprout import Actor, ActorCrashed, Crashed, Down, Name, Signal, child, open_runtime, supervisor


class Patient(Actor):
    async def collapse(self) -> None:
        raise RuntimeError("fever")


@attrs.define
class Nurse(Actor):
    heard: trio.Event

    async def on_start(self) -> None:
        self.context.monitor(PATIENT)

    async def on_signal(self, signal: Signal) -> None:
        match signal:
            case Down(ref=ref, reason=Crashed(error=error)):
                print(f"{ref.path} is down: {error}")
                self.heard.set()
            case _:
                await super().on_signal(signal)


PATIENT = Name(Patient, "patient")


async def main() -> None:
    heard = trio.Event()
    app = supervisor(
        "app",
        child("patient", Patient, name=PATIENT),
        child("nurse", partial(Nurse, heard)),
    )
    async with open_runtime(app):
        try:
            await PATIENT.call(Patient.collapse)
        except ActorCrashed:
            await heard.wait()


if __name__ == "__main__":
    trio.run(main)
