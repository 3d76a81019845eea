"""What a supervisor remembers of its children's failures: delays that grow, are reset, and are forgotten."""

import random

import pytest

from resprout import Backoff, ChildSpec, Intensity, child
from resprout.supervisors.ledger import Ledger
from tests.supervisors.players import Player


class Longest(random.Random):
    """Draws the longest delay that is allowed."""

    def uniform(self, a: float, b: float) -> float:
        return b


def spec(id: str = "a") -> ChildSpec:
    return child(id, Player, backoff=Backoff(floor=1, base=1, cap=64))


def delays(ledger: Ledger, *lived: float) -> list[float]:
    return [ledger.delay(spec(), seconds, Longest()) for seconds in lived]


@pytest.mark.parametrize(("lived", "delay"), [(0.0, 4), (64.0, 4), (64.001, 1)])
def test_a_run_must_be_longer_than_the_cap_to_reset_the_delay(lived: float, delay: float) -> None:
    assert delays(Ledger(Intensity()), 0, 0, lived) == [1, 2, delay]


def test_the_delay_grows_for_each_child_by_itself() -> None:
    ledger = Ledger(Intensity())
    assert delays(ledger, 0, 0) == [1, 2]
    assert ledger.delay(spec("b"), 0, Longest()) == 1
    assert delays(ledger, 0) == [4]


def test_a_new_child_under_a_forgotten_id_begins_with_the_first_delay() -> None:
    ledger = Ledger(Intensity())
    delays(ledger, 0, 0, 0)
    ledger.forget("a")
    assert delays(ledger, 0) == [1]


def test_ten_thousand_failures_in_a_row_wait_no_longer_than_the_cap() -> None:
    assert delays(Ledger(Intensity()), *[0.0] * 10_000)[-1] == 64
