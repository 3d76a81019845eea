"""The probe: stands for an actor, records, answers as told."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from resprout import (
    Actor,
    ActorCrashed,
    CallTimeoutError,
    ChildSpec,
    Name,
    ReplyError,
    UnknownMessageError,
    child,
    supervisor,
    testing,
)


class NoSuchAddress(ReplyError):
    """The mail server does not know it."""


class Mailer(Actor):
    """The real one: must never run in these tests."""

    async def on_start(self) -> None:
        raise AssertionError("the real mailer was started")

    async def mail(self, to: str, text: str = "hello") -> bool:
        raise AssertionError(to, text)

    async def flush(self) -> None:
        raise AssertionError


MAILER = Name(Mailer, "mailer")


@attrs.define
class Shop(Actor):
    """Mails its customers."""

    async def order(self, customer: str) -> str:
        return "confirmed" if await MAILER.call(Mailer.mail, customer, text="thanks") else "not mailed"


SHOP = Name(Shop, "shop")


def shop_with(mailer: testing.Probe[Mailer]) -> ChildSpec:
    return supervisor("app", mailer.child("mailer", name=MAILER), child("shop", Shop, name=SHOP))


async def test_a_probe_answers_in_the_place_of_a_real_actor(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    mailer.replies(Mailer.mail, False, True)
    async with testing.runtime(shop_with(mailer)):
        assert await SHOP.call(Shop.order, "ann") == "not mailed"
        assert await SHOP.call(Shop.order, "bob") == "confirmed"
        assert await SHOP.call(Shop.order, "cyd") == "confirmed"
    await mailer.expect(Mailer.mail, "ann", "thanks")
    await mailer.expect(Mailer.mail, to="bob", text="thanks")
    assert [str(each) for each in mailer.received][2] == "mail('cyd', text='thanks')"


async def test_a_message_is_waited_for(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    async with testing.runtime(shop_with(mailer)), trio.open_nursery() as nursery:
        nursery.start_soon(order_after, 2.0)
        got = await mailer.expect_message(Mailer.flush)
        assert (got.at, got.is_call) == (2.0, False)


async def order_after(seconds: float) -> None:
    await trio.sleep(seconds)
    MAILER.cast(Mailer.flush)


async def test_default_arguments_count_as_given(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    async with testing.runtime(shop_with(mailer)):
        MAILER.cast(Mailer.mail, "ann")
        await mailer.expect(Mailer.mail, "ann", "hello")


async def test_another_message_fails_the_test_at_once(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    async with testing.runtime(shop_with(mailer)):
        MAILER.cast(Mailer.mail, "bob")
        MAILER.cast(Mailer.flush)
        with pytest.raises(AssertionError, match=r"expected Mailer\.mail\('ann'\) and got mail\('bob'\)"):
            await mailer.expect(Mailer.mail, "ann")
        with pytest.raises(AssertionError, match=r"expected a message of mail and got flush\(\)"):
            await mailer.expect_message(Mailer.mail)


async def test_no_message_fails_the_test_in_time_and_shows_the_tree(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    async with testing.runtime(shop_with(mailer)):
        with pytest.raises(testing.WaitedInVain, match=r"Mailer\.flush\(\).* within 60 s") as caught:
            await mailer.within(60).expect(Mailer.flush)
        assert trio.current_time() == 60.0
    assert "mailer: ProbeOfMailer, running" in str(caught.value)


async def test_silence_can_be_expected(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    async with testing.runtime(shop_with(mailer)):
        await mailer.expect_none(for_=5.0)
        assert trio.current_time() == 5.0
        MAILER.cast(Mailer.flush)
        with pytest.raises(AssertionError, match=r"expected no message and got flush\(\)"):
            await mailer.expect_none()
        mailer.forget()
        await mailer.expect_none()


async def test_a_call_without_a_script_is_refused_and_a_cast_is_not(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    async with testing.runtime(shop_with(mailer)):
        MAILER.cast(Mailer.mail, "ann")
        await MAILER.call(Mailer.flush)
        with pytest.raises(testing.NothingScripted, match=r"say probe\.replies\(Mailer\.mail, …\)"):
            await MAILER.call(Mailer.mail, "ann")


async def test_a_probe_can_fail_crash_and_hang(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    async with testing.runtime(shop_with(mailer)):
        mailer.fails(Mailer.mail, NoSuchAddress("ann"))
        with pytest.raises(NoSuchAddress):
            await MAILER.call(Mailer.mail, "ann")
        mailer.fails(Mailer.mail, OSError("mail server gone"))
        with pytest.raises(ActorCrashed, match="mail server gone"):
            await MAILER.call(Mailer.mail, "ann")
        await testing.wait_for_restart(MAILER, within=0.1) if MAILER.instance is None else None
        mailer.runs(Mailer.mail, for_ever)
        with pytest.raises(CallTimeoutError):
            await MAILER.call(Mailer.mail, "ann")


async def for_ever(to: str, text: str = "") -> bool:
    await trio.sleep_forever()
    return True


async def test_wrong_arguments_are_refused_as_by_the_real_actor(autojump_clock: MockClock) -> None:
    mailer = testing.Probe(Mailer)
    async with testing.runtime(shop_with(mailer)):
        with pytest.raises(UnknownMessageError, match="missing a required argument: 'to'"):
            await MAILER.call(Mailer.mail)  # type: ignore[call-arg]
    assert mailer.received == []


async def test_only_messages_of_its_class_can_be_scripted_or_expected() -> None:
    mailer = testing.Probe(Mailer)
    with pytest.raises(ValueError, match="order is no message of Mailer; there are: flush, mail"):
        mailer.replies(Shop.order, "?")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_start is no message"):
        await mailer.expect(Mailer.on_start)
