"""What type checkers see of the circuit breaker."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, assert_type

import trio

from resprout import CircuitBreaker, Ticket


async def charge(cents: int, *, currency: str = "EUR") -> str:
    return f"{cents} {currency}"


async def main() -> None:
    breaker = CircuitBreaker("billing")
    assert_type(await breaker.call(charge, 5, currency="CHF"), str)
    guarded = breaker.guard(charge)
    assert_type(await guarded(5), str)
    async with breaker as ticket:
        assert_type(ticket, Ticket)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(guarded, 7)
    if TYPE_CHECKING:
        later: Awaitable[str] = guarded(5, currency="CHF")
        await later
        await guarded("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # Refused.
        await guarded(5, money="CHF")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # Refused.
        await breaker.call(charge, "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # Refused.


async def test_a_guarded_function_keeps_its_signature() -> None:
    await main()
