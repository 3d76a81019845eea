"""An error that is an answer does not crash anybody; an error that nobody expected does."""

import attrs
import trio

from resprout import Actor, ActorCrashed, Name, ReplyError, child, open_runtime, supervisor


class NotEnoughMoney(ReplyError):
    """Derived from ReplyError: it is raised in the caller, and the account lives on."""


@attrs.define
class Account(Actor):
    balance: int = 100

    async def withdraw(self, amount: int) -> int:
        if amount > self.balance:
            raise NotEnoughMoney(f"{amount} asked, {self.balance} there")
        self.balance -= amount
        return self.balance


ACCOUNT = Name(Account, "account")
app = supervisor("app", child("account", Account, name=ACCOUNT))


async def main() -> None:
    async with open_runtime(app):
        await ACCOUNT.call(Account.withdraw, 60)
        try:
            await ACCOUNT.call(Account.withdraw, 60)
        except NotEnoughMoney as answer:
            print("an answer:", answer)
        print("the same account goes on:", await ACCOUNT.call(Account.withdraw, 1))
        try:
            await ACCOUNT.call(Account.withdraw, "all of it")  # type: ignore[arg-type]  # To crash it.
        except ActorCrashed as crash:
            print("a crash:", crash.cause)
        print("a fresh account:", await ACCOUNT.call(Account.withdraw, 0))


if __name__ == "__main__":
    trio.run(main)
