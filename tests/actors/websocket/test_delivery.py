"""The rules of one session's window."""

import math
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resprout.actors.websocket import delivery
from resprout.actors.websocket.delivery import Bury, DeliveryPolicy, Gone, Overreach, Retry, Window
from resprout.actors.websocket.store import Failure, Stored

POLICY = DeliveryPolicy(window_messages=5, lease=30.0, max_failures=3)


def messages(*seqs: int) -> tuple[Stored, ...]:
    return tuple(Stored(seq=seq, id=f"id{seq}", data=b"{}") for seq in seqs)


def sent_window(*seqs: int) -> Window:
    window, _ = delivery.take(delivery.load(Window(acked=0), messages(*seqs)), 0.0, POLICY)
    return window


def test_no_more_is_sent_than_the_window_holds() -> None:
    window, first = delivery.take(delivery.load(Window(acked=0), messages(*range(1, 9))), 0.0, POLICY)
    assert [message.seq for message in first] == [1, 2, 3, 4, 5]
    assert delivery.take(window, 0.0, POLICY)[1] == ()
    _, more = delivery.take(delivery.acknowledge(window, 2, 1.0, POLICY), 1.0, POLICY)
    assert [message.seq for message in more] == [6, 7]


def test_an_acknowledgement_settles_everything_before_it() -> None:
    window = delivery.acknowledge(sent_window(1, 2, 3), 2, 0.0, POLICY)
    assert [message.seq for message in window.flying] == [3]
    assert window.acked == 2


def test_a_late_acknowledgement_changes_nothing() -> None:
    window = delivery.acknowledge(sent_window(1, 2, 3), 2, 0.0, POLICY)
    assert delivery.acknowledge(window, 1, 9.0, POLICY) == window


def test_acknowledging_what_was_never_sent_is_refused() -> None:
    with pytest.raises(Overreach):
        delivery.acknowledge(sent_window(1, 2), 3, 0.0, POLICY)


def test_a_rejected_message_comes_again_before_those_behind_it() -> None:
    window, rejected = delivery.reject(sent_window(1, 2, 3, 4), 2)
    assert rejected == messages(2)[0]
    assert delivery.take(window, 1e9, POLICY)[1] == ()  # Not before it is judged.
    window = delivery.retry(window, 5.0)
    assert delivery.take(window, 4.9, POLICY)[1] == ()
    assert [message.seq for message in delivery.take(window, 5.0, POLICY)[1]] == [2, 3, 4]


def test_a_buried_message_lets_the_others_pass_at_once() -> None:
    window, _ = delivery.reject(sent_window(1, 2, 3), 1)
    assert [message.seq for message in delivery.take(delivery.drop(window, 1), 0.0, POLICY)[1]] == [2, 3]


def test_an_acknowledgement_after_a_rejection_is_believed() -> None:
    window, _ = delivery.reject(sent_window(1, 2, 3), 2)
    window = delivery.acknowledge(window, 3, 0.0, POLICY)
    assert window.count == 0
    assert window.size == 0


def test_a_rejection_of_something_not_in_flight_changes_nothing() -> None:
    window = sent_window(1, 2)
    assert delivery.reject(window, 7) == (window, None)


def test_the_lease_ends_only_while_nothing_is_acknowledged() -> None:
    window = sent_window(1, 2, 3)
    assert delivery.overdue(window, 29.9) is None
    assert delivery.overdue(window, 30.0) == messages(1)[0]
    window = delivery.acknowledge(window, 1, 29.0, POLICY)
    assert delivery.overdue(window, 58.9) is None
    assert delivery.overdue(window, 59.0) == messages(2)[0]
    assert delivery.overdue(delivery.acknowledge(window, 3, 40.0, POLICY), math.inf) is None


def test_a_message_dies_of_its_last_counted_failure_and_not_before() -> None:
    failures = [Failure(at=float(n), reason="no") for n in range(3)]
    rng = random.Random(1)
    assert isinstance(delivery.judge(failures[:1], POLICY, rng), Retry)
    assert isinstance(delivery.judge(failures[:2], POLICY, rng), Retry)
    assert delivery.judge(failures, POLICY, rng) == Bury("failed 3 times, last: no")


def test_a_permanent_failure_kills_at_once_and_a_settled_message_is_passed_over() -> None:
    failure = Failure(at=0.0, reason="never")
    assert delivery.judge([failure], POLICY, random.Random(1), permanent=True) == Bury("permanent: never")
    assert delivery.judge([], POLICY, random.Random(1), permanent=True) == Gone()


@given(st.integers(1, 19), st.integers(0, 2**32))
def test_the_pause_before_a_retry_stays_between_floor_and_cap(failures: int, seed: int) -> None:
    history = [Failure(at=0.0, reason="no")] * failures
    verdict = delivery.judge(history, DeliveryPolicy(), random.Random(seed))
    assert isinstance(verdict, Retry)
    assert 0.05 <= verdict.delay <= min(60.0, 0.5 * 2 ** (failures - 1))


@pytest.mark.parametrize(
    "wrong",
    [{"window_messages": 0}, {"window_bytes": 0}, {"max_failures": 0}, {"lease": 0.0}, {"lease": math.nan}],
)
def test_a_policy_that_could_never_deliver_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        attrs.evolve(POLICY, **wrong)


class ClientAndWindow(RuleBasedStateMachine):
    """A window against the simplest possible client: what it got, in order, and what it has acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(acked=0)
        self.now = 0.0
        self.last = 0
        self.dropped: set[int] = set()
        self.got: list[int] = []  # What the client keeps: it drops what comes twice, and what it rejected.
        self.judging: int | None = None

    @rule(count=st.integers(1, 7))
    def load(self, count: int) -> None:
        self.window = delivery.load(self.window, messages(*range(self.last + 1, self.last + count + 1)))
        self.last += count

    @rule()
    def send(self) -> None:
        self.window, batch = delivery.take(self.window, self.now, POLICY)
        self.got += [message.seq for message in batch if message.seq not in self.got]

    @precondition(lambda self: self.got)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(self.got))
        self.window = delivery.acknowledge(self.window, seq, self.now, POLICY)

    @precondition(lambda self: self.window.flying and self.judging is None)
    @rule(data=st.data())
    def reject(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from([message.seq for message in self.window.flying]))
        self.window, rejected = delivery.reject(self.window, seq)
        assert rejected is not None
        self.judging = seq
        self.got = [known for known in self.got if known < seq]

    @precondition(lambda self: self.judging is not None)
    @rule(dies=st.booleans())
    def judge(self, dies: bool) -> None:
        assert self.judging is not None
        if dies:
            self.window = delivery.drop(self.window, self.judging)
            self.dropped.add(self.judging)
        else:
            self.window = delivery.retry(self.window, self.now + 1.0)
        self.judging = None

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_lost_or_out_of_order(self) -> None:
        held = [message.seq for message in (*self.window.flying, *self.window.ready)]
        assert held == sorted(set(held))
        missing = set(range(self.window.acked + 1, self.last + 1)) - set(held)
        assert missing <= self.dropped

    @invariant()
    def the_client_gets_everything_in_order(self) -> None:
        assert self.got == sorted(self.got)
        if self.got:
            assert set(range(1, self.got[-1] + 1)) - set(self.got) <= self.dropped

    @invariant()
    def the_bounds_hold(self) -> None:
        assert len(self.window.flying) <= POLICY.window_messages
        assert self.window.size == delivery.size_of((*self.window.flying, *self.window.ready))
        assert bool(self.window.flying) == (self.window.lease_until < math.inf)


TestClientAndWindow = ClientAndWindow.TestCase
