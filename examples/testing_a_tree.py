"""A test of an actor, its crash and its neighbours, on virtual time: ten minutes of patience cost nothing."""

import attrs

from resprout import Actor, ActorExited, Name, child, supervisor, testing


class Mailer(Actor):
    """The real one talks to a mail server."""

    async def mail(self, to: str, text: str) -> bool:
        raise NotImplementedError


@attrs.define
class Shop(Actor):
    """Confirms orders by mail, and reminds of unpaid ones after ten minutes."""

    orders: int = 0

    async def order(self, customer: str) -> int:
        self.orders += 1
        self.context.after(600, Shop.remind, customer)
        await MAILER.call(Mailer.mail, customer, "thank you")
        return self.orders

    async def remind(self, customer: str) -> None:
        await MAILER.call(Mailer.mail, customer, "please pay")


MAILER, SHOP = Name(Mailer, "mailer"), Name(Shop, "shop")


async def test_customers_are_thanked_and_reminded() -> None:
    mailer = testing.Probe(Mailer)
    mailer.replies(Mailer.mail, True)
    tree = supervisor("app", mailer.child("mailer", name=MAILER), child("shop", Shop, name=SHOP))
    async with testing.runtime(tree):
        assert await SHOP.call(Shop.order, "ann") == 1
        await mailer.expect(Mailer.mail, "ann", "thank you")
        await mailer.within(601).expect(Mailer.mail, "ann", "please pay")
        await mailer.expect_none(for_=3600)


async def test_a_crash_of_the_shop_loses_its_count() -> None:
    mailer = testing.Probe(Mailer)
    mailer.replies(Mailer.mail, True)
    tree = supervisor("app", mailer.child("mailer", name=MAILER), child("shop", Shop, name=SHOP))
    async with testing.runtime(tree) as rt:
        await SHOP.call(Shop.order, "ann")
        async with testing.expect_event(rt, ActorExited, "app/shop"):
            await testing.crash(SHOP, OSError("out of paper"))
        await testing.wait_for_restart(SHOP)
        assert await SHOP.call(Shop.order, "bob") == 1


if __name__ == "__main__":
    testing.run(test_customers_are_thanked_and_reminded)
    testing.run(test_a_crash_of_the_shop_loses_its_count)
    print("both tests passed")
