"""What type checkers see of the test kit."""

from typing import assert_type

from resprout import Actor, ActorExited, Name, System
from resprout.testing import FakeService, Probe, Received, expect_event, runtime, wait_until


class Mailer(Actor):
    async def mail(self, to: str, text: str = "") -> bool:
        return True


MAILER = Name(Mailer, "mailer")


class Client:
    async def get(self, key: str) -> bytes:
        return b""


async def uses() -> None:
    probe = Probe(Mailer)
    probe.replies(Mailer.mail, True)
    assert_type(await probe.expect(Mailer.mail, "ann", text="hello"), Received)
    await probe.expect(Mailer.mail, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tree = probe.child("mailer", name=MAILER)
    async with runtime(tree) as rt:
        assert_type(rt, System)
        async with expect_event(rt, ActorExited) as expected:
            pass
        assert_type(expected.event, ActorExited)
        assert_type(await wait_until(lambda: MAILER.call(Mailer.mail, "ann")), bool)
    assert_type(await FakeService().client(MAILER, Client).get("k"), bytes)
