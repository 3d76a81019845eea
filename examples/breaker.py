"""A service goes down and comes back: a breaker spares it and its callers, a budget bounds the retries.

Neither needs an actor: this runs in any trio program.
"""

import trio

from resprout import (
    BreakerPolicy,
    CircuitBreaker,
    CircuitOpen,
    Consecutive,
    FailureRateIn,
    Sent,
    Unavailable,
    retry,
    retry_budgets,
)

POLICY = BreakerPolicy(trips=(Consecutive(3), FailureRateIn(0.5, seconds=10, min_calls=20)), open_for=0.2)
up = False


async def charge(cents: int) -> str:
    await trio.sleep(0.01)
    if not up:
        raise Unavailable("billing", "no connection", sent=Sent.NO)
    return f"charged {cents}"


async def main() -> None:
    global up
    breaker, budget = CircuitBreaker("billing", POLICY), retry_budgets().get("billing")
    breaker.subscribe(lambda event: print(f"{event.old.name} -> {event.new.name}: {event.why}"))
    guarded = breaker.guard(charge)
    for _ in range(3):
        try:
            await guarded(5)
        except Unavailable:
            print("the call's own error")
    try:
        async with breaker:
            print("never printed")
    except CircuitOpen as error:
        print("refused:", error.state)
    up = True
    print(await retry(lambda: guarded(7), budget=budget, timeout=2), "after the breaker let a probe through")
    print("calls that ended well:", breaker.stats.succeeded)


if __name__ == "__main__":
    trio.run(main)
